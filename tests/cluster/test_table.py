"""The cohort's table: what stands in it is what the fits found, and it stands alone."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.cluster import Store, Task, TaskState, list_tasks, read_plan
from oncology.cluster.table import COLUMNS, CohortRow, read_rows, table_csv, table_html
from oncology.results.schema import Estimate
from tests.cluster.cohorts import Cohort, example_estimate, write_cohort


def parsed(text: str) -> list[dict[str, str]]:
    """Return the rows by column, without units."""
    return [{name.split(" [")[0]: cell for name, cell in row.items()} for row in csv.DictReader(text.splitlines())]


def rows_of(cohort: Cohort) -> list[CohortRow]:
    plan = read_plan(cohort.plan)
    return read_rows(list_tasks(plan), Store(plan.results))


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    """Four cases: two finished, one failed, one not begun."""
    cohort = write_cohort(tmp_path, ["01", "02", "03"])
    (cohort.case("02") / "broken").write_text('<b>labels</b>, "values" & more: give them')
    assert cohort.run().status == 1
    cohort.case("04").mkdir()
    return cohort


def test_numbers_are_those_of_the_fits(cohort):
    estimate = example_estimate()
    rows = parsed(table_csv(rows_of(cohort)))
    assert [row["case"] for row in rows] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert [row["state"] for row in rows] == ["finished", "failed", "finished", "waiting"]
    first = rows[0]
    for name in ("diffusion_white", "diffusion_grey", "proliferation", "onset"):
        parameter, (low, high) = estimate["parameters"][name], estimate["intervals"][name]
        assert [float(first[f"{name}{end}"]) for end in ("", "_low", "_high")] == [parameter["value"], low, high]
        assert first[f"{name}_identified"] == ("yes" if parameter["identified"] else "no")
    speed = estimate["derived"]["front_speed"]
    assert float(first["front_speed_high"]) == pytest.approx(
        speed["value"] * math.exp(1.96 * speed["sd_log"]), rel=1e-5
    )
    assert [float(first[f"seed_{axis}"]) for axis in "xyz"] == estimate["parameters"]["seed"]["value"]
    assert float(first["dice_whole_mean"]) == pytest.approx((0.988 + 0.987) / 2)
    assert float(first["dice_core_lowest"]) == 0.986
    assert (first["run_time"], first["ranks"], first["sessions"]) == ("104.2", "2", "2")
    assert first["warnings"] == ""
    assert rows[1]["error"] == f'{cohort.case("02")}/case.toml: <b>labels</b>, "values" & more: give them'
    assert not any(rows[3][name] for name in ("status", "proliferation", "error"))


def test_columns_name_their_units(cohort):
    header = table_csv(rows_of(cohort)).splitlines()[0].split(",")
    assert {"diffusion_white [mm^2/day]", "onset [day]", "front_speed [mm/day]", "run_time [s]"} <= set(header)
    assert len(header) == len(set(header)) == len(COLUMNS)


def test_the_page_stands_alone_and_shows_every_case(cohort):
    page = (cohort.results / "cohort.html").read_text()
    assert not re.search(r"<(script|link|iframe|img)\b|url\(|https?:", page)
    for name in ("sub-01", "sub-02", "sub-03"):
        assert name in page
    assert "&lt;b&gt;labels&lt;/b&gt;" in page and "<b>labels" not in page, "what a fit says is text"
    assert "2 finished" in page and "1 failed" in page
    assert "0.114" in page and "mm²/day" in page


def test_a_page_of_a_case_is_linked_where_it_is(cohort):
    assert "href" not in table_html(rows_of(cohort), "toy")
    (cohort.results / "sub-01" / "report.html").write_text("page")
    assert table_html(rows_of(cohort), "toy").count('href="sub-01/report.html"') == 1


def test_a_damaged_estimate_is_a_failure_of_its_case(cohort):
    (cohort.results / "sub-01" / "estimate.json").write_text("{")
    rows = parsed(table_csv(rows_of(cohort)))
    assert rows[0]["state"] == "failed" and "cannot be read" in rows[0]["error"] and "run again" in rows[0]["error"]
    assert rows[2]["state"] == "finished"


positive = st.floats(1e-12, 1e12)


@given(st.lists(st.tuples(positive, st.floats(0.0, 900.0), st.booleans()), min_size=1, max_size=5))
def test_any_estimate_has_a_row_and_a_page(values):
    rows = []
    for k, (value, sd, identified) in enumerate(values):
        content = example_estimate() | {"intervals": {}}
        content["parameters"]["proliferation"] |= {"value": value, "sd_log": sd, "identified": identified}
        task = Task(f"sub-{k}", "", Path(f"sub-{k}"), Path(f"out/sub-{k}"), {}, 1)
        rows.append(CohortRow(task, TaskState("finished"), Estimate.model_validate(json.loads(json.dumps(content)))))
    found = parsed(table_csv(rows))
    for row, (value, _, identified) in zip(found, values, strict=True):
        assert float(row["proliferation"]) == pytest.approx(value, rel=1e-5)
        assert float(row["proliferation_low"]) <= float(row["proliferation"]) <= float(row["proliferation_high"])
        assert row["proliferation_identified"] == ("yes" if identified else "no")
    page = table_html(rows, "any")
    places = [float(x) for x in re.findall(r'<circle cx="([^"]+)"', page)]
    assert places and all(2.0 <= place <= 82.0 for place in places)


def test_a_fit_that_does_not_explain_its_scans_is_marked_and_left_out_of_the_summary(cohort):
    path = read_plan(cohort.plan).results / "sub-03" / "estimate.json"
    content = json.loads(path.read_text()) | {"verdict": "not_explained", "verdict_reasons": ["<b>no</b> overlap"]}
    path.write_text(json.dumps(content))
    rows = rows_of(cohort)
    assert [row["verdict"] for row in parsed(table_csv(rows))] == ["explained", "", "not_explained", ""]
    page = table_html(rows, "toy")
    assert '<span class="not_explained" title="&lt;b&gt;no&lt;/b&gt; overlap">not explained</span>' in page
    summary = page.partition("<h2>Summary</h2>")[2].partition("</table>")[0]
    cases = {name: int(n) for name, n in re.findall(r"<td>([^<]+)</td><td.*?<td class=\"n\">(\d+)</td></tr>", summary)}
    assert cases["front speed"] == 1 and cases["Dice, whole"] == 2
