"""The command: a file, or a server that says where it is, refuses strangers and ends with Ctrl-C; bad input."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from oncology.cli.main import run
from tests.cases import write_case
from tests.view.test_sources import SUMMARY

ROOT = Path(__file__).parents[2]


@contextmanager
def viewing(out, *options, browser=False, **environment):
    """Run the command until the block ends; give process and address."""
    command = [sys.executable, "-m", "oncology", "view", str(out), "--port", "0", *options]
    command += [] if browser else ["--no-browser"]
    variables = {key: value for key, value in os.environ.items() if key != "SSH_CONNECTION"} | environment
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=variables
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_serves_until_interrupted_and_tells_the_way_through_ssh(toy_out):
    with viewing(toy_out, SSH_CONNECTION="192.0.2.7 50000 192.0.2.8 22") as (process, address):
        port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=[\w-]{22}", address)[1]
        assert b"<!DOCTYPE html>" in urllib.request.urlopen(address, timeout=20).read(50)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address[:-1], timeout=20)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in said
        assert said.endswith("the page is closed\n")
        assert "Traceback" not in said


def test_the_browser_is_started_without_the_token_and_arrives(toy_out, tmp_path):
    """Everybody on a computer can read the command lines of its processes."""
    note, browser = tmp_path / "started", tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\necho "$@" > {note}.part && cat "${{1#file://}}" >> {note}.part && mv {note}.part {note}\n'
    )
    browser.chmod(0o755)
    with viewing(toy_out, browser=True, DISPLAY=":9", BROWSER=f"{browser} %s") as (_, address):
        for _ in range(200):
            if note.exists():
                break
            time.sleep(0.1)
        started, _, page = note.read_text().partition("\n")
        assert re.fullmatch(r"file:///.*/open\.html", started)
        assert address in page


def test_it_writes_one_file_with_nothing_from_outside(toy_out, tmp_path, capsys):
    path = tmp_path / "growth.html"
    assert run(["view", str(toy_out), "--html", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    page = path.read_text()
    assert len(page) < 8e6
    shown = re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"https?://|src=|url\(|@import|<link(?! rel=\"icon\" href=\"data:,\")", shown)
    assert "default-src 'none'" in page
    assert [p.name for p in tmp_path.iterdir()] == ["growth.html"]


def test_texts_of_the_case_cannot_become_part_of_the_page(out, toy, tmp_path):
    from oncology.view.page import build_page
    from oncology.view.sources import read_subject

    evil = "</script><script>alert(1)</script>"
    path = out / "estimate.json"
    path.write_text(path.read_text().replace('"warnings": []', f'"warnings": ["{evil}"]'))
    page = build_page(read_subject(out))
    assert "alert(1)" in page
    assert evil not in page


def test_a_shorter_horizon_cuts_a_longer_one_of_a_simulation_is_refused(out, toy, tmp_path, capsys):
    page = tmp_path / "growth.html"
    assert run(["view", str(out), "--case", str(toy.root), "--horizon", "0", "--html", str(page)]) == 0
    (out / "estimate.json").unlink()
    (out / "summary.json").write_text(json.dumps(SUMMARY))
    assert run(["view", str(out), "--case", str(toy.root), "--horizon", "30", "--html", str(page)]) == 2
    assert "simulate --days" in capsys.readouterr().err


@pytest.mark.slow
def test_past_the_end_of_a_fit_its_growth_is_solved_first(tmp_path, monkeypatch):
    monkeypatch.setenv("ONCOLOGY_CACHE", str(tmp_path / "cache"))
    case, fit, page = write_case(tmp_path), tmp_path / "fit", tmp_path / "growth.html"
    assert run(["fit", str(case), "--out", str(fit), "--size", "6", "--no-report"]) == 0
    assert run(["view", str(fit), "--horizon", "20", "--html", str(page)]) == 0
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page.read_text())[1])
    first, last = scene["days"][0], scene["days"][-1]
    assert last == pytest.approx(40.0 + 20.0)
    whole = scene["intervals"]["whole"]
    assert whole["days"][-1] == pytest.approx(last)
    assert first < whole["days"][0] < 0.0  # those of the fit go before
    assert np.all(np.diff(whole["days"]) > 0)
    table = np.frombuffer(
        zlib.decompress(base64.b64decode(re.search(r'id="array-volumes">(.*?)<', page.read_text())[1])), "<f4"
    )
    table = table.reshape(-1, len(scene["tables"]["levels"]))
    assert table[-1, scene["tables"]["levels"].index(0.25)] == pytest.approx(whole["value"][-1], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "70000"], "--port 70000 is out of range"),
        (["--horizon", "-1"], "--horizon -1 is out of range"),
        (["--horizon", "nan"], "--horizon nan is out of range"),
        (["--case", "no/such/case"], "no/such/case: no such folder"),
        (["--html", "no/such/folder/growth.html"], "cannot be written"),
    ],
)
def test_bad_options_are_refused_in_one_line(toy_out, options, says, capsys):
    given = options if "--html" in options else [*options, "--html", "unused.html"]
    assert run(["view", str(toy_out), *given]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not Path("unused.html").exists()


def test_folders_that_are_no_results_are_refused(tmp_path, capsys):
    assert run(["view", str(tmp_path / "none")]) == 2
    assert run(["view", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 2
