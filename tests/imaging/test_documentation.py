"""The examples in the docstrings are true."""

import doctest

import pytest

from oncology.imaging import resample, volume


@pytest.mark.parametrize("module", [volume, resample])
def test_docstring_examples(module):
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
