"""`oncology train`: what it leaves behind, stopped and resumed runs, evaluation, and where it refuses."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from oncology.api.trainfile import DEFAULTS, SnodeConfig, config_for
from oncology.cli import main as cli
from oncology.nodes import checkpoint
from oncology.nodes.checkpoint import load_model
from oncology.nodes.data import synthetic
from tests.nodes.test_data import idx_bytes

SMALL = """
seed = 3
[data]
train = 40
test = 60
[model]
state = 3
cells = 6
[optimiser]
iterations = 4
[[stage]]
epochs = 3
smoothing = 0.5
batch = 20
noise_inputs = 0.02
[[stage]]
epochs = 5
refine = 2
[evaluation]
samples = 20
"""


@pytest.fixture
def settings(tmp_path) -> Path:
    path = tmp_path / "conf.toml"
    path.write_text(SMALL)
    return path


def line(tmp_path: Path, settings: Path, out: str, *words: str, data: str = "moons") -> list[str]:
    options = ["--data", data, "--config", str(settings), "--out", str(tmp_path / out), "--device", "cpu"]
    return ["train", "snode", *options, *words]


def test_a_training_leaves_model_settings_history_and_metrics(tmp_path, settings, capsys):
    assert cli.run(line(tmp_path, settings, "out")) == 0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        ".oncology",
        "config.toml",
        "history.jsonl",
        "metrics.json",
        "model.pt",
    }
    model, theta = load_model(out / "model.pt")
    assert (model.grid.cells, model.inputs, model.outputs) == (12, (1, 2), (0, 1))
    metrics = json.loads((out / "metrics.json").read_text())
    data = synthetic("moons", 3, 40, 60)
    right = model.outputs_of(theta, data.test.inputs).argmax(1) == data.test.classes
    assert metrics["accuracy"] == pytest.approx(float(right.double().mean()))
    assert metrics["certified"] <= metrics["attacked"] <= 1
    history = [json.loads(text) for text in (out / "history.jsonl").read_text().splitlines()]
    assert [entry["iteration"] for entry in history] == list(range(1, metrics["iterations"] + 1))
    assert metrics["iterations"] == 2 * 3 * 4 + 5 * 4
    assert history[-1]["forward_equivalents"] == metrics["forward_equivalents"]
    assert metrics["cost"] == history[-1]["cost"] < history[24]["cost"]
    shown = capsys.readouterr()
    assert not shown.err
    assert f"{metrics['accuracy']:.6g}" in shown.out


def test_the_settings_left_behind_give_the_same_training_again(tmp_path, settings):
    assert cli.run(line(tmp_path, settings, "out")) == 0
    left = tomllib.loads((tmp_path / "out" / "config.toml").read_text())
    assert left["seed"] == 3 and left["stage"][1]["refine"] == 2 and left["cost"]["decay"] == 1e-4
    assert set(left) == set(SnodeConfig.model_fields)
    assert cli.run(line(tmp_path, tmp_path / "out" / "config.toml", "again")) == 0
    thetas = [load_model(tmp_path / name / "model.pt")[1] for name in ("out", "again")]
    assert torch.equal(*thetas)


def test_a_stopped_training_resumes_bit_for_bit(tmp_path, settings, monkeypatch, capsys):
    assert cli.run(line(tmp_path, settings, "whole")) == 0
    save = checkpoint.save_progress
    saved = []

    def save_and_stop(*parts):
        save(*parts)
        saved.append(parts)
        if len(saved) == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(checkpoint, "save_progress", save_and_stop)
    assert cli.run(line(tmp_path, settings, "out")) == 75
    assert "--resume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.run(line(tmp_path, settings, "out", "--resume")) == 0
    for name in ("model.pt", "history.jsonl"):
        whole, resumed = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "out"))
        assert whole == resumed
    metrics = [json.loads((tmp_path / folder / "metrics.json").read_text()) for folder in ("whole", "out")]
    for numbers in metrics:
        numbers.pop("seconds")
    assert metrics[0] == metrics[1]


def test_other_settings_do_not_resume(tmp_path, settings, monkeypatch, capsys):
    save = checkpoint.save_progress

    def save_and_fail(*parts):
        save(*parts)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_progress", save_and_fail)
    assert cli.run(line(tmp_path, settings, "out")) == 130
    settings.write_text(SMALL.replace("seed = 3", "seed = 4"))
    assert cli.run(line(tmp_path, settings, "out", "--resume")) == 2
    assert "other settings" in capsys.readouterr().err


def test_evaluate_measures_the_same_and_other_data(tmp_path, settings, capsys):
    assert cli.run(line(tmp_path, settings, "out")) == 0
    left = json.loads((tmp_path / "out" / "metrics.json").read_text())
    report = tmp_path / "report.json"
    words = ["train", "evaluate", str(tmp_path / "out"), "--json", str(report), "--device", "cpu"]
    assert cli.run(words) == 0
    again = json.loads(report.read_text())
    assert again == {key: left[key] for key in again}
    assert cli.run([*words, "--data", "circles", "--radius", "0.01"]) == 0
    other = json.loads(report.read_text())
    assert other["accuracy"] != again["accuracy"]
    assert other["attacked"] >= other["certified"]
    assert "train_accuracy" not in other
    assert cli.run([*words, "--data", "digits"]) == 2
    assert "64 features and 10 classes; the network has learnt 2 and 2" in capsys.readouterr().err


def test_a_table_is_learnt_and_another_one_tested_with_its_scaling(tmp_path, settings):
    rng = np.random.default_rng(0)
    for name, shift in (("first.csv", 0.0), ("second.csv", 0.0), ("moved.csv", 90.0)):
        points = rng.normal(size=(120, 2))
        rows = [f"{x + shift},{y},{'in' if x < 0 else 'out'}" for x, y in 100.0 * points]
        (tmp_path / name).write_text("x,y,side\n" + "\n".join(rows) + "\n")
    assert cli.run(line(tmp_path, settings, "out", data=str(tmp_path / "first.csv"))) == 0
    left = tomllib.loads((tmp_path / "out" / "config.toml").read_text())
    assert left["learnt"]["classes"] == ["in", "out"]
    assert left["learnt"]["scale"][0] == pytest.approx(100.0, rel=0.2)
    accuracies = {}
    for name in ("second.csv", "moved.csv"):
        report = tmp_path / "report.json"
        words = ["train", "evaluate", str(tmp_path / "out"), "--data", str(tmp_path / name), "--json", str(report)]
        assert cli.run(words) == 0
        accuracies[name] = json.loads(report.read_text())["accuracy"]
    assert accuracies["second.csv"] > 0.9
    assert accuracies["moved.csv"] < 0.9


def test_idx_files_are_learnt(tmp_path, settings):
    rng = np.random.default_rng(1)
    for part, number in (("train", 40), ("t10k", 20)):
        labels = (np.arange(number) % 2).astype(np.uint8)
        images = rng.integers(0, 40, (number, 4, 4), dtype=np.uint8)
        images[:, :2] += (200 * labels)[:, None, None].astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    settings.write_text(SMALL.replace("state = 3", "state = 4"))
    assert cli.run(line(tmp_path, settings, "out", data=f"mnist:{tmp_path}")) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["accuracy"] > 0.9
    assert tomllib.loads((tmp_path / "out" / "config.toml").read_text())["learnt"]["bounds"] == [-1.0, 0.0]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seed = 3", "sead = 3", "unknown key sead; allowed here are data_set, seed, data"),
        ("cells = 6", "cell = 6", "unknown key model.cell; allowed here are state, length"),
        ("epochs = 5", "epochs = 0", "stage[2].epochs = 0 is not allowed; give a whole number, 1 or more"),
        ("smoothing = 0.5", "smoothing = -1", "stage[1].smoothing = -1 is not allowed; give a number >= 0"),
        ("state = 3", "state = 1", "model.state = 1 cannot hold 2 inputs"),
        ("state = 3", "activation = 'sine'", "activation 'sine' is unknown"),
        ("[data]", "[data", "not readable as TOML"),
        ("iterations = 4", "method = 'magic'", "optimiser.method = 'magic' is not allowed; give 'ncg', 'sgd'"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(tmp_path, settings, capsys, old, new, says):
    settings.write_text(SMALL.replace(old, new))
    assert cli.run(line(tmp_path, settings, "out")) == 2
    text = capsys.readouterr().err
    assert says in text and text.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["conf.toml"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("stars", "take moons, circles, spirals, digits, mnist:FOLDER or FILE.csv"),
        ("mnist:nowhere", "no such file"),
        ("nowhere.csv", "no such file"),
    ],
)
def test_bad_data_are_one_line(tmp_path, settings, capsys, data, says):
    assert cli.run(line(tmp_path, settings, "out", data=data)) == 2
    text = capsys.readouterr().err
    assert says in text and text.count("\n") == 1


def test_what_is_no_training_is_refused(tmp_path, capsys):
    assert cli.run(["train", "evaluate", str(tmp_path)]) == 2
    assert "give the folder that `oncology train snode` wrote" in capsys.readouterr().err


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_defaults_of_every_data_set_are_valid(kind):
    name = {"mnist": "mnist:folder", "table": "file.csv"}.get(kind, kind)
    assert config_for(name, None).data_set.endswith(name.split(":")[-1])


def test_the_documentation_names_every_key_and_its_example_is_valid(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "snode.md").read_text()
    (example,) = re.findall(r"(?ms)^```toml\n(.*?)^```", page)
    (tmp_path / "conf.toml").write_text(example)
    assert config_for("spirals", tmp_path / "conf.toml").stage[1].refine == 2
    schema = SnodeConfig.model_json_schema()
    parts = [schema, *(part for name, part in schema["$defs"].items() if name not in ("LearntSection", "RunSection"))]
    keys = {key for part in parts for key in part["properties"]} - {"data_set", "learnt", "run"}
    assert not {key for key in keys if not re.search(rf"`{key}`|\[{key}\]", page)}
