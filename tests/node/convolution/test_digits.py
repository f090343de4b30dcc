"""The comparison on digits, small: both learn, on equal terms, and the NODE reads pictures of any size (B3)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from oncology.node.experiments.convolution import compare_on_digits, table_of


@pytest.mark.slow
def test_both_networks_learn_the_digits_with_equal_weights_and_work():
    node, network = rows = list(compare_on_digits((0,), epochs=8, iterations=3, attacked=20))
    assert abs(node.parameters - network.parameters) < 0.02 * node.parameters
    assert node.passes == network.passes
    assert min(node.accuracy, network.accuracy) > 0.8
    assert abs(node.finer - node.accuracy) < 0.05  # the same kernels on four times as many pixels
    assert math.isnan(network.finer)
    for row in rows:
        assert row.noisy[0] >= row.noisy[1]
        assert row.attacked[0] >= row.attacked[1]
    table = table_of([*rows, *(replace(row, seed=1) for row in rows)])
    assert [line["method"] for line in table] == [row.method for row in rows]
    assert table[0]["accuracy"] == f"{node.accuracy:.3f} ± 0.000"
    assert table[1]["twice the pixels"] == ""
