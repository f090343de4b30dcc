"""Data sets against their definitions, IDX files against what was written, faults against what their message names."""

from __future__ import annotations

import gzip
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oncology.errors import ConfigError, DataError
from oncology.nodes.data import circles, digits, mnist, moons, spirals, synthetic, table, table_to_test
from oncology.nodes.datafiles import IDX_TYPES, read_idx, read_mnist, read_table
from tests.nodes.nets import generator


def idx_bytes(array: np.ndarray) -> bytes:
    code = next(code for code, kind in IDX_TYPES.items() if np.dtype(kind) == array.dtype.newbyteorder(">"))
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


# --- synthetic sets ---


@pytest.mark.parametrize("make", [moons, circles, spirals])
def test_points_without_noise_lie_on_their_curves(make):
    inputs, classes = make(400, generator(), noise=0.0)
    x, y = inputs.T
    assert classes.tolist() == [0, 1] * 200
    radius, angle = torch.hypot(x, y), torch.atan2(y, x)
    if make is moons:
        upper, lower = classes == 0, classes == 1
        assert torch.allclose(radius[upper], torch.ones(200).double()) and (y[upper] >= 0).all()
        assert torch.allclose(torch.hypot(1 - x, 0.5 - y)[lower], torch.ones(200).double())
        assert (y[lower] <= 0.5).all()
        assert x[lower].min() < 0.1 and x[upper].max() > 0.9
    elif make is circles:
        assert torch.allclose(radius, torch.where(classes == 0, 0.5, 1.0).double())
        assert angle.min() < -3 and angle.max() > 3
    else:
        turned = angle - math.pi * (3 * radius + classes)
        assert torch.allclose(torch.cos(turned), torch.ones(400).double())
        assert 0.1 <= radius.min() < 0.2 and 0.98 < radius.max() <= 1.0


def test_a_half_plane_classifies_the_spirals_as_well_as_steepest_descent_does():
    """0.653 to 0.658 in the reference table; a constant density along the arms would give .63."""
    inputs, classes = spirals(20_000, generator())
    angles = torch.linspace(0.0, math.pi, 181).double()[:-1]
    right = ((inputs @ torch.stack([angles.cos(), angles.sin()]) > 0) == classes[:, None].bool()).double().mean(0)
    assert 0.65 < float(torch.maximum(right, 1.0 - right).max()) < 0.68


@pytest.mark.parametrize(("make", "noise"), [(moons, 0.1), (circles, 0.08), (spirals, 0.02)])
def test_noise_has_the_deviation_that_is_asked_for(make, noise):
    points = [make(2000, generator(4), **options)[0] for options in ({}, {"noise": 0.0})]
    assert float((points[0] - points[1]).std()) == pytest.approx(noise, rel=0.05)


def test_synthetic_sets_are_seeded_and_their_parts_differ():
    a, b, c = synthetic("moons", 1), synthetic("moons", 1), synthetic("moons", 2)
    assert torch.equal(a.train.inputs, b.train.inputs) and torch.equal(a.test.inputs, b.test.inputs)
    assert not torch.equal(a.train.inputs, c.train.inputs)
    assert not torch.equal(a.train.inputs, a.test.inputs[:200])
    assert (len(a.train), len(a.test)) == (200, 1000)
    assert a.train.targets.sum(0).tolist() == [100, 100]


@pytest.mark.parametrize("wrong", [("stars", 2, 2), ("moons", 1, 2)])
def test_unknown_sets_and_empty_parts_are_refused(wrong):
    with pytest.raises(ConfigError, match="moons, circles, spirals"):
        synthetic(wrong[0], 0, *wrong[1:])


def test_digits_are_scaled_to_ink_and_split_without_overlap():
    from sklearn.datasets import load_digits

    data = digits(seed=3, share=0.2)
    assert (len(data.train), len(data.test), data.features) == (1438, 359, 64)
    inputs = torch.cat([data.train.inputs, data.test.inputs])
    assert (float(inputs.min()), float(inputs.max())) == (-1.0, 0.0)
    # every bundled digit occurs in one of the parts, with its class
    pixels, labels = load_digits(return_X_y=True)
    classes = torch.cat([data.train.classes, data.test.classes])
    rows = {tuple(row.tolist()): int(label) for row, label in zip(-16 * inputs, classes, strict=True)}
    assert rows == {tuple(row.tolist()): int(label) for row, label in zip(pixels, labels, strict=True)}
    assert not torch.equal(digits(seed=4, share=0.2).test.inputs, data.test.inputs)


# --- IDX ---

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(st.sampled_from(sorted(IDX_TYPES.values())), SHAPES, st.booleans(), st.data())
@settings(max_examples=60, deadline=None)
def test_every_idx_file_is_read_as_it_was_written(tmp_path_factory, kind, shape, compressed, data):
    native = np.dtype(kind).newbyteorder("=")
    array = data.draw(arrays(native, shape))
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if compressed else idx_bytes(array))
    again = read_idx(path)
    assert again.dtype == native
    assert np.array_equal(again, array, equal_nan=native.kind == "f")


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_other_bytes_are_refused_in_one_line_or_fit_their_header(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert content == idx_bytes(array)


@given(st.integers(0, 39))
@settings(max_examples=40, deadline=None)
def test_a_cut_file_is_refused(tmp_path_factory, length):
    whole = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(whole[:length])
    with pytest.raises(DataError):
        read_idx(path)


def write_mnist(folder, number=6, side=28, **files):
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (number, side, side), dtype=np.uint8)
        images[0, 0, 0], images[0, 0, 1] = 0, 255
        labels = (np.arange(number) % 3).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


def test_mnist_is_halved_by_averaging_and_scaled(tmp_path):
    write_mnist(tmp_path)
    data = mnist(tmp_path)
    assert (data.features, data.classes, data.bounds) == (196, ("0", "1", "2"), (-1.0, 0.0))
    assert data.train.classes.tolist() == [0, 1, 2, 0, 1, 2]
    pixels = read_mnist(tmp_path, "train", halve=False).images
    halved = read_mnist(tmp_path, "train").images
    assert halved[4, 3, 5] == pytest.approx(pixels[4, 6:8, 10:12].mean())
    inputs = torch.cat([data.train.inputs, data.test.inputs])
    assert (float(inputs.min()), float(inputs.max())) == (-1.0, 0.0)
    darkest = torch.from_numpy(halved).flatten(1).max(1).values.argmax()
    assert darkest == data.train.inputs.min(1).values.argmin()
    assert mnist(tmp_path, halve=False).features == 784


@pytest.mark.parametrize(
    ("name", "array", "says"),
    [
        ("train-images-idx3-ubyte", np.zeros((6, 3, 3), np.uint8), "cannot be halved"),
        ("train-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8), "do not belong together"),
        ("t10k-labels-idx1-ubyte", np.full(6, -1, np.int8), "whole numbers"),
        ("t10k-images-idx3-ubyte", np.zeros((6, 14, 14), np.uint8), "differ in size"),
    ],
)
def test_mnist_files_that_do_not_fit_are_refused(tmp_path, name, array, says):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(idx_bytes(array))
    with pytest.raises(DataError, match=says):
        mnist(tmp_path)


def test_a_missing_mnist_file_is_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: no such file"):
        mnist(tmp_path)


# --- CSV ---

ROWS = "width, height,kind\n1,2.5,cat\n-3e1,4,dog\n0,0,cat\n5,1,dog\n"


def test_a_table_is_read_with_its_last_or_named_column_as_class(tmp_path):
    path = tmp_path / "pets.csv"
    path.write_text(ROWS)
    read = read_table(path)
    assert (read.names, read.classes) == (("width", "height"), ("cat", "dog", "cat", "dog"))
    assert read.features[1].tolist() == [-30.0, 4.0]
    path.write_text("kind,width\na,1\n\nb,2\n")
    assert read_table(path, "kind").features[:, 0].tolist() == [1.0, 2.0]


def test_a_table_is_scaled_by_its_training_part_and_tested_with_the_same_scaling(tmp_path):
    path = tmp_path / "pets.csv"
    lines = [f"{3 * i},{7},{'ab'[i % 2]}" for i in range(40)]
    path.write_text("x,constant,kind\n" + "\n".join(lines))
    data = table(path, seed=1)
    assert data.classes == ("a", "b")
    assert torch.allclose(data.train.inputs.mean(0), torch.zeros(2).double(), atol=1e-12)
    assert float(data.train.inputs[:, 0].std(correction=0)) == pytest.approx(1.0)
    everything = table_to_test(path, None, data.classes, data.scaling)
    assert float(everything.inputs[:, 0].std(correction=0) * data.scaling.scale[0]) == pytest.approx(
        float(np.std(3.0 * np.arange(40)))
    )
    path.write_text("x,constant,kind\n1,2,a\n1,2,z\n")
    with pytest.raises(DataError, match="class 'z' was not learnt"):
        table_to_test(path, None, data.classes, data.scaling)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n", "no samples"),
        ("a\n1\n", "one column only"),
        ("a,b\n1,x\n1,2,3\n", "line 3: 3 cells under a header of 2"),
        ("a,b\n1,x\nfive,y\n", "line 3, column 'a': 'five'"),
        ("a,b\n1,x\n\ninf,y\n", "line 4, column 'a': 'inf'"),
        ("a,b\n1,x\n2,\n", "line 3, column 'b': no class"),
        ("a,b\n1,x\n2,x\n", "every sample is of class 'x'"),
        ('a,b\n1,"x\n', "cannot be read as CSV"),
    ],
)
def test_faults_of_a_table_name_line_and_column(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        table(tmp_path / "t.csv")


def test_a_missing_table_or_column_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(ROWS)
    with pytest.raises(DataError, match="0 columns are named 'sort'; take one of width, height, kind"):
        read_table(tmp_path / "t.csv", "sort")
