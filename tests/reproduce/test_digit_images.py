"""The comparison on digits, small: all learn, on equal terms, and the NODE reads pictures of any size."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from oncology.reproduce.digit_images import ImageEffort, compare_on_digits, table_of


@pytest.mark.slow
def test_all_networks_learn_the_digits_with_equal_weights_and_work():
    rows = list(compare_on_digits(ImageEffort((0,), epochs=8, iterations=3, attacked=8)))
    node, noisy_node, network, noisy_network = rows
    assert max(row.parameters for row in rows) < 1.02 * min(row.parameters for row in rows)
    assert node.passes == network.passes == noisy_network.passes
    assert node.passes - 2 <= noisy_node.passes <= node.passes
    assert min(row.accuracy for row in rows) > 0.75
    for row in (node, noisy_node):
        assert abs(row.finer - row.accuracy) < 0.05  # the same kernels on four times as many pixels
    assert math.isnan(network.finer)
    for row in rows:
        assert row.noisy[0] >= row.noisy[1]
        assert row.attacked[0] >= row.attacked[1]
    assert noisy_node.noisy[1] > node.noisy[1]
    table = table_of([*rows, *(replace(row, seed=1) for row in rows)])
    assert [line["method"] for line in table] == [row.method for row in rows]
    assert table[0]["accuracy"] == pytest.approx(node.accuracy)
    assert table[0]["seeds"] == 2
    assert table[0]["accuracy_sd"] == 0.0
    assert table[2]["twice the pixels"] is None
