"""A checkpoint comes back field by field, from every stage, and is refused with other settings."""

from dataclasses import fields

import numpy as np
import pytest

from oncology.errors import OutputError
from oncology.inverse.identify import Checkpoint
from oncology.results.checkpoint import CHECKPOINT, CheckpointError, read_checkpoint, write_checkpoint

X = np.array([-1.6, -2.3, -4.0, 9.1, -3.7, 2.2, 5.5])
SETTINGS = {"size_mm": 2.5, "law": "logistic", "shape": True, "case": "/cases/sub-01"}
STAGES = {
    "coarse": Checkpoint(1, X, 50.0),
    "fine": Checkpoint(3, X, 1234.5, X + 0.125, np.arange(49.0).reshape(7, 7) / 3.0),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_field_comes_back(tmp_path, stage):
    given, path = STAGES[stage], tmp_path / CHECKPOINT
    write_checkpoint(path, given, SETTINGS)
    found = read_checkpoint(path, SETTINGS)
    for field in fields(Checkpoint):
        wanted, value = getattr(given, field.name), getattr(found, field.name)
        assert (value is None) == (wanted is None), field.name
        np.testing.assert_array_equal(value, wanted, err_msg=field.name)
        assert isinstance(value, np.ndarray) == isinstance(wanted, np.ndarray), field.name
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]


def test_there_may_be_none_yet(tmp_path):
    assert read_checkpoint(tmp_path / CHECKPOINT, SETTINGS) is None


@pytest.mark.parametrize(("name", "value"), [("size_mm", 3.0), ("law", "gompertz"), ("shape", False)])
def test_other_settings_are_refused(tmp_path, name, value):
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, STAGES["fine"], SETTINGS)
    with pytest.raises(OutputError, match=rf"with another {name}: .* --overwrite"):
        read_checkpoint(path, {**SETTINGS, name: value})


INPUTS = {"case.toml": "00", "anat/sub-01_label-WM_probseg.nii.gz": "01"}


def test_the_same_inputs_go_on_wherever_they_are(tmp_path):
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, STAGES["fine"], SETTINGS, INPUTS)
    assert read_checkpoint(path, {**SETTINGS, "case": "/moved"}, INPUTS) is not None


@pytest.mark.parametrize(
    ("inputs", "named"),
    [(INPUTS | {"case.toml": "ff"}, "case.toml"), (INPUTS | {"pet/new.nii.gz": "02"}, "pet/new"), ({}, "anat/sub-01")],
)
def test_other_inputs_are_refused_by_name(tmp_path, inputs, named):
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, STAGES["fine"], SETTINGS, INPUTS)
    with pytest.raises(CheckpointError, match=rf"another case, or the case has changed since \(.*{named}.*--overwrite"):
        read_checkpoint(path, SETTINGS, inputs)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:150],
        lambda text: "[]",
        lambda text: text.replace("-1.6", "NaN"),
        lambda text: text.replace('"x"', '"y"'),
        lambda text: text.replace("1234.5", '"many"'),
    ],
)
def test_a_damaged_checkpoint_is_one_line_with_the_way_out(tmp_path, damage):
    path = tmp_path / CHECKPOINT
    write_checkpoint(path, STAGES["fine"], SETTINGS)
    path.write_text(damage(path.read_text()))
    with pytest.raises(CheckpointError, match=r"checkpoint\.json: checkpoint is damaged .* --overwrite") as caught:
        read_checkpoint(path, SETTINGS)
    assert "\n" not in str(caught.value)
