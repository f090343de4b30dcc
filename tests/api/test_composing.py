"""The postcard of composing an inverse problem, as printed in the documentation, on the example of the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oncology as onc

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "data" / "sub-example01"


@pytest.fixture(scope="module")
def case():
    return onc.read_case(EXAMPLE)


@pytest.fixture(scope="module")
def engine(case):
    return onc.FiniteElements(onc.mesh(case, size=7.0), case, law=onc.Logistic())


def test_scalars_come_back_and_say_what_they_know(case, engine):
    """The scalars of the example, grown by finite volumes, on cells of 7 mm."""
    problem = onc.InverseProblem(engine, onc.observe(case), onc.Scalars())
    solution = onc.solve(problem)
    assert solution.status.succeeded, solution.explanation
    tumour = solution.here.inputs.tumour
    assert tumour.front_speed == pytest.approx(2.0 * np.sqrt(0.2 * 0.025), rel=0.05)
    assert np.linalg.norm(np.subtract(tumour.seed, (34.0, -20.0, 30.0))) < 1.0
    posterior = onc.laplace(problem, solution)
    names = problem.map.names
    known = dict(zip(names, posterior.identified, strict=True))
    assert known["ln_diffusion_white"] and known["seed_x"]
    assert posterior.sd().shape == (8,) and posterior.sample(100, seed=0).shape == (100, 8)
    # the third rate is met where growth has no kink at zero density and solves are exact (tests/inverse/test_fields.py)
    assert onc.taylor_test(problem, at=solution.x).rates[:2] == pytest.approx((1.0, 2.0), abs=0.15)


@pytest.mark.slow
def test_the_postcard(case):
    """As printed in docs/composing.md, on the example and on larger cells."""
    text = re.findall(r"(?ms)^```py\n(.*?)^```", (ROOT / "docs" / "composing.md").read_text(encoding="utf-8"))[0]
    names: dict[str, Any] = {}
    exec(text.replace('"sub-01"', repr(str(EXAMPLE))).replace("size=2.5", "size=8.0"), names)
    mesh, engine, problem = names["mesh"], names["engine"], names["problem"]
    solution, posterior = names["solution"], names["posterior"]
    count = 8 + len(mesh.points)
    assert posterior.sd().shape == (count,) and posterior.identified.shape == (count,)
    assert posterior.sample(2, seed=0).shape == (2, count)
    assert onc.taylor_test(problem, at=solution.x).rates[1] == pytest.approx(2.0, abs=0.25)
    costs = [cost for stage, cost in solution.path if stage == "volume fraction"]
    assert costs == sorted(costs, reverse=True)
    # a field can only explain more than none
    scalars = onc.solve(onc.InverseProblem(engine, onc.observe(case), onc.Scalars()))
    assert solution.misfit < scalars.misfit
    # ten directions and more are known, and next to the tumour the field itself better than the prior knows it
    assert posterior.effective_dimension > 10.0
    assert posterior.sd()[7:].min() < 0.7 * 0.5


def test_a_mesh_file_is_read(case, engine, tmp_path):
    from oncology.meshing import write_mesh

    write_mesh(tmp_path / "mesh.h5", engine.mesh)
    assert onc.read_mesh(tmp_path / "mesh.h5", case).fingerprint == engine.mesh.fingerprint


def test_parts_print_themselves_in_a_line(case, engine):
    problem = onc.InverseProblem(engine, onc.observe(case), onc.Scalars())
    for part in (engine.mesh, engine, onc.observe(case), problem, problem.map):
        text = repr(part)
        assert "array(" not in text and len(text) < 600, text
