"""`oncology predict`: a fitted tumour on later days, with uncertainty, radiotherapy targets and their coverage."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from oncology.cli.output import closing, progress
from oncology.cli.runtime import guarded, world
from oncology.errors import ConfigError
from oncology.parallel import on_root
from oncology.results.folder import output_folder

__all__ = ["predict"]

Flag = Annotated[bool, Parameter(negative="")]
Days = Annotated[tuple[float, ...], Parameter(consume_multiple=True, negative="")]


def predict(
    fit: Path | None = None,
    /,
    *,
    out: Path,
    days: Days = (),
    absolute: Flag = False,
    case: Path | None = None,
    margin: float | None = None,
    volume: float | None = None,
    recurrence: Path | None = None,
    samples: int = 0,
    seed: int = 0,
    predict_gbm: Path | None = None,
    size: float | None = None,
    pet: Flag = False,
    overwrite: Flag = False,
    report: bool = True,
) -> None:
    """Predict a fitted tumour on later days, with radiotherapy targets.

    Runs on one core, or on N with `mpiexec -n N oncology predict FIT --days 30 60 90 --out OUT`. With --predict-gbm
    it fits and predicts in one call, with the files of the PREDICT-GBM benchmark.

    Args:
        fit: Folder that `oncology fit CASE --out FIT` wrote.
        out: Folder for the results, made whole at the end or not at all; with --predict-gbm the image to write
            (.nii.gz), or the folder for NNNNN.nii.gz.
        days: Days after the last session to predict, day.
        absolute: Count --days on the case's calendar (that of case.toml) instead.
        case: Folder of the fitted case; by default the one that FIT/config.toml names.
        margin: Margin of the standard target around the segmented core, mm (15 if neither is given).
        volume: Volume of both targets, mL, instead of a margin.
        recurrence: Mask of a later recurrence; by default `ses-*/anat/*_desc-tumor_mask.nii.gz` of the case's
            folder.
        samples: Samples of the posterior for the uncertainty; 0 takes tangents, which suit well-determined fits.
        seed: Of the random numbers.
        predict_gbm: Folder of NNNNN-gm, -wm, -csf, -tumorseg (and -pet).nii.gz, or a folder of such `Patient-*`
            folders.
        size: With --predict-gbm: edge length of the mesh around the tumour, mm (2.5 if not given).
        pet: With --predict-gbm: use the PET image too.
        overwrite: Replace what an earlier run left in --out.
        report: Write prediction.html with pictures.
    """
    if (fit is None) == (predict_gbm is None):
        given = "none is given" if fit is None else "both are given"
        raise ConfigError(f"predict needs the folder of a fit or --predict-gbm FOLDER, {given}: give one of them")
    if predict_gbm is not None:
        from oncology.cli.predictgbm import answer_benchmark

        others = {"--absolute": absolute, "--case": case, "--margin": margin, "--volume": volume}
        others |= {"--recurrence": recurrence, "--samples": samples}
        _refuse(others, "--predict-gbm")
        answer_benchmark(predict_gbm, out, days, size, pet, overwrite)
        return
    assert fit is not None
    _refuse({"--size": size, "--pet": pet}, "a fit, whose own they are")
    comm = world()
    with guarded(comm), output_folder(out, comm, overwrite=overwrite) as work, progress() as show:
        import oncology as onc

        started = time.perf_counter()
        show("fit")
        prediction = onc.load(fit, case, comm).predict(
            days,
            samples=samples,
            seed=seed,
            absolute=absolute,
            margin=margin,
            volume=volume,
            recurrence=recurrence,
            progress=show,
        )
        show("files", 1.0)
        seconds = round(time.perf_counter() - started, 2)
        on_root(comm, lambda: prediction.write(work, report=report, seconds=seconds))
    page = out / "prediction.html" if report else None
    closing(out, lambda: prediction, page, (shlex.join(("oncology", "view", str(out))),))


def _refuse(given: dict[str, Any], beside: str) -> None:
    for name, value in given.items():
        if value:
            raise ConfigError(f"{name} has no meaning beside {beside}: leave it out")
