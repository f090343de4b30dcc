"""The local runner with a script in the fit's place: order, cores, failures, kills, two runners at once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.cluster.cohorts import meanwhile, wait_for, write_cohort

NAMES = [f"{k:02d}" for k in range(6)]


def ranks_at_once(lines: list[str], ranks: int) -> int:
    """Return the most ranks that the script's lines show at a time."""
    most = now = 0
    for line in lines:
        now += 1 if line[0] == "+" else -1
        most = max(most, now)
    return ranks * most


def test_all_are_fitted_once_and_the_table_is_there(tmp_path):
    cohort = write_cohort(tmp_path, NAMES)
    done = cohort.run("--cores", "3")
    assert (done.status, done.error) == (0, "")
    assert done.out.strip() == str(cohort.results / "cohort.html")
    assert cohort.finished() == {f"sub-{name}" for name in NAMES}
    assert (cohort.results / "cohort.csv").is_file()
    assert not cohort.half_written()
    assert sorted(cohort.events("+")) == [f"sub-{name}" for name in NAMES]
    again = cohort.run()
    assert again == (0, done.out, "")
    assert len(cohort.events("+")) == len(NAMES), "finished cases are skipped"


def test_one_failure_is_one_line_and_stops_nobody(tmp_path):
    cohort = write_cohort(tmp_path, NAMES)
    (cohort.case("01") / "broken").write_text("key subject is missing: give it")
    done = cohort.run("--cores", "2")
    assert done.status == 1
    assert done.error == f"oncology: sub-01: {cohort.case('01')}/case.toml: key subject is missing: give it\n"
    assert cohort.finished() == {f"sub-{name}" for name in NAMES if name != "01"}
    assert not cohort.half_written()
    status = cohort.run("status").out.splitlines()
    assert status[1].startswith("sub-01  failed") and "key subject is missing" in status[1]
    assert status[-1] == "5 finished, 1 failed"
    (cohort.case("01") / "broken").unlink()
    mended = cohort.run()
    assert (mended.status, mended.error) == (0, "")
    assert cohort.run("status").out.splitlines()[-1] == "6 finished"


@pytest.mark.parametrize(
    ("marker", "told"), [("crashes", "was killed by signal 11"), ("silent", "ended with status 3 (some library")]
)
def test_failures_without_a_word_are_told(tmp_path, marker, told):
    cohort = write_cohort(tmp_path, NAMES[:2])
    (cohort.case("00") / marker).touch()
    done = cohort.run()
    assert (done.status, done.error.count("\n")) == (1, 1)
    assert done.error.startswith(f"oncology: sub-00: {told}")
    assert cohort.finished() == {"sub-01"}


@pytest.mark.parametrize(("ranks", "cores"), [(1, 1), (1, 2), (1, 4), (2, 3), (2, 4)])
def test_no_more_ranks_at_a_time_than_cores(tmp_path, ranks, cores):
    cohort = write_cohort(tmp_path, NAMES, {"ranks": ranks})
    assert cohort.run("--cores", str(cores)).status == 0
    assert ranks_at_once(cohort.events(), ranks) <= cores
    assert cohort.finished() == {f"sub-{name}" for name in NAMES}


def test_cores_are_used(tmp_path):
    """Three wait for each other's beginning: with fewer at a time none would end."""
    cohort = write_cohort(tmp_path, NAMES[:3])
    for name in NAMES[:3]:
        (cohort.case(name) / "waits").touch()

    def let_go() -> None:
        for name in NAMES[:3]:
            (cohort.case(name) / "waits").unlink()

    with meanwhile(lambda: len(cohort.events("+")) == 3, let_go):
        assert cohort.run("--cores", "3").status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_runner_that_is_asked_to_leave_lets_the_fits_save_and_goes_on_later(tmp_path, number):
    cohort = write_cohort(tmp_path, NAMES)
    (cohort.case("02") / "waits").touch()
    before = signal.getsignal(number)
    with meanwhile(lambda: "sub-02" in cohort.events("+"), lambda: os.kill(os.getpid(), number)):
        ended = cohort.run("--cores", "1")
    assert ended == (75, "", "oncology: stopped with 4 of 6 fits to go: the same command goes on\n")
    assert signal.getsignal(number) == before
    assert cohort.events("=") == ["sub-02"], "the fit was told to save"
    assert "sub-02  stopped" in cohort.run("status").out
    (cohort.case("02") / "waits").unlink()
    assert cohort.run().status == 0
    assert sorted(cohort.events("-")) == [f"sub-{name}" for name in NAMES], "nothing is done twice"


def test_a_runner_that_is_asked_twice_ends_at_once(tmp_path):
    cohort = write_cohort(tmp_path, ["00"], {"python": ["sh", "-c", "trap '' USR1; touch results/begun; sleep 100"]})

    def ask_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    with meanwhile(lambda: list(cohort.results.rglob("begun")), ask_twice):
        assert cohort.run().status == 75
    assert "stopped" in cohort.run("status").out


def test_after_a_killed_runner_the_next_waits_for_what_still_runs(tmp_path):
    cohort = write_cohort(tmp_path, NAMES)
    (cohort.case("01") / "waits").touch()
    process = cohort.start("--cores", "1")
    wait_for(lambda: "sub-01" in cohort.events("+"))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert "sub-01  running" in cohort.run("status").out, "the fit outlives its runner"
    began = time.monotonic()
    with meanwhile(lambda: time.monotonic() > began + 0.5, (cohort.case("01") / "waits").unlink):
        again = cohort.run("--cores", "1")
    assert (again.status, again.error) == (0, "")
    assert cohort.events("+").index("sub-02") == 2 and cohort.events()[3] == "- sub-01", "what runs takes its core"
    assert sorted(cohort.events("+")) == [f"sub-{name}" for name in NAMES]


def test_two_runners_share_the_work(tmp_path):
    cohort = write_cohort(tmp_path, NAMES)
    (cohort.case("00") / "waits").touch()
    other = cohort.start("--cores", "2")
    wait_for(lambda: "sub-00" in cohort.events("+"))
    with meanwhile(lambda: len(cohort.events("+")) > 2, (cohort.case("00") / "waits").unlink):
        mine = cohort.run("--cores", "2")
    assert (mine.status, mine.error) == (0, "")
    assert other.communicate(timeout=120)[1] == ""
    assert other.returncode == 0
    assert sorted(cohort.events("+")) == [f"sub-{name}" for name in NAMES]


def test_variants_have_folders_of_their_own(tmp_path):
    variants = {"fine": {"size": 2.0}, "coarse": {"size": 4.0, "pet": True}}
    cohort = write_cohort(tmp_path, NAMES[:2], {"fit": {"law": "gompertz"}, "variant": variants})
    assert cohort.run().status == 0
    found = {str(path.parent.relative_to(cohort.results)) for path in cohort.results.rglob("estimate.json")}
    assert found == {"fine/sub-00", "fine/sub-01", "coarse/sub-00", "coarse/sub-01"}


def test_what_a_fit_says_is_in_its_log(tmp_path):
    cohort = write_cohort(tmp_path, ["00"])
    assert cohort.run().status == 0
    assert (cohort.results / ".cohort" / "logs" / "sub-00.log").read_text() == "some library says hello\n"
