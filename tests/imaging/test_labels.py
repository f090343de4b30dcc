import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.errors import CaseError, ImageError
from oncology.imaging import BRATS2017, BRATS2021, LabelTable, Volume
from oncology.imaging.labels import indicator, read_labels
from oncology.imaging.tables import NAMED_TABLES


def image(*values: float, dtype: type = np.uint8) -> Volume:
    return Volume(np.array(values, dtype=dtype).reshape(1, 1, -1), np.eye(4))


@st.composite
def tables(draw):
    values = draw(st.lists(st.integers(1, 300), min_size=3, max_size=9, unique=True))
    first, second = sorted(draw(st.tuples(*[st.integers(1, len(values) - 1)] * 2)))
    return LabelTable(tuple(values[:first]), tuple(values[first:second]), tuple(values[second:]))


@given(tables(), st.data())
def test_core_and_oedema_split_the_whole(table, data):
    values = data.draw(st.lists(st.sampled_from((0, *table.whole)), min_size=1).filter(any))
    labels = read_labels(image(*values, dtype=np.int32), table).data
    core, oedema, whole = (indicator(labels, v) for v in (table.core, table.oedema, table.whole))
    np.testing.assert_array_equal(core ^ oedema, whole)
    assert not (core & oedema).any()
    np.testing.assert_array_equal(whole, labels > 0)


@given(tables(), st.integers(-5, 1000), st.sampled_from([np.int16, np.int32, np.float32, np.float64]))
def test_a_value_that_is_not_in_the_table_is_named(table, value, dtype):
    values = (table.whole[0], 0, value)
    if value in (0, *table.whole):
        assert read_labels(image(*values, dtype=dtype), table).data.dtype == np.int16
    else:
        with pytest.raises(ImageError, match=rf"label {value} is not in the table"):
            read_labels(image(*values, dtype=dtype), table)


def test_named_tables():
    assert BRATS2017.core == (1, 4)
    assert BRATS2017.whole == (1, 2, 4)
    assert set(BRATS2021.whole) == {1, 2, 3, 4}
    for enhancing in (3, 4):
        read_labels(image(0, 1, 2, enhancing), BRATS2021)
    with pytest.raises(ImageError, match="not both"):
        read_labels(image(0, 1, 3, 4), BRATS2021)
    with pytest.raises(ImageError, match="label 3 is not in the table"):
        read_labels(image(0, 1, 3, 4), BRATS2017)


def test_integers_that_went_through_a_scale_factor():
    read = read_labels(image(0, 0.99999, 2.0004, 4.0, dtype=np.float64), BRATS2017)
    assert read.data.ravel().tolist() == [0, 1, 2, 4]
    with pytest.raises(ImageError, match=r"label 1\.99\d* is no integer"):
        read_labels(image(0, 1.99, 2, dtype=np.float32), BRATS2017)


def test_a_cavity_is_labelled_but_no_tumour():
    table = NAMED_TABLES["brats2024-posttreatment"]
    assert read_labels(image(0, 1, 4), table).data.tolist() == [[[0, 1, 4]]]
    assert 4 not in table.whole
    with pytest.raises(ImageError, match="segmentation is empty"):
        read_labels(image(0, 4), table)
    with pytest.raises(
        ImageError, match=r"\[3, 4\], not both: if 4 is the cavity of a resection, give .*posttreatment"
    ):
        read_labels(image(0, 3, 4), BRATS2021)


def test_interpolated_labels():
    with pytest.raises(ImageError, match=r"label 1\.5 is no integer"):
        read_labels(image(0, 1.5, 2, dtype=np.float32), BRATS2017)


def test_empty_segmentation():
    with pytest.raises(ImageError, match="segmentation is empty"):
        read_labels(image(0, 0), BRATS2017)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (((), (), ()), "no value"),
        (((1,), (1,), (3,)), "value 1 is given more than once"),
        (((0,), (1,), (3,)), "value 0 is outside"),
        (((1,), (-2,), (3,)), "value -2 is outside"),
        (((1,), (40000,), (3,)), "value 40000 is outside"),
    ],
)
def test_impossible_tables(table, message):
    with pytest.raises(CaseError, match=message):
        LabelTable(*table)
