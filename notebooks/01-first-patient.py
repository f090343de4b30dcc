# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The first patient
#
# `data/sub-example01` is a synthetic patient with two scans, 42 days apart. The tumour was grown by another solver
# (finite volumes) than the one that fits it here (finite elements), with parameters that `truth.json` keeps.
# We look at the scans, fit the model, and ask whether the fit found what was put in.

# %%
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from oncology.imaging import Case, read_volume, sample

plt.rcParams["figure.dpi"] = 60
case = Case.read("../data/sub-example01")
for session in case.sessions:
    whole, core = (1e-3 * mask.data.sum() * mask.voxel_volume for mask in (session.whole, session.core))
    print(f"{session.id}, day {session.day:g}: whole tumour {whole:.1f} ml, core {core:.1f} ml")

# %% [markdown]
# ## The scans
#
# Images are placed by their affines, in RAS mm: tissue maps and segmentations may have different voxels.

# %%
SPAN = np.arange(-45.0, 45.0, 1.0)  # mm around the middle of the tumour
centre = case.sessions[-1].whole.world(np.argwhere(case.sessions[-1].whole.data)).mean(axis=0)
PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}


def plane(volume, axes, order=1):
    """Values of an image on a plane through the middle of the tumour, rows from the bottom."""
    points = np.tile(centre, (len(SPAN) ** 2, 1))
    points[:, axes[0]] += np.tile(SPAN, len(SPAN))
    points[:, axes[1]] += np.repeat(SPAN, len(SPAN))
    return sample(volume, points, order=order).reshape(len(SPAN), len(SPAN))


def draw(panel, axes, session, title, density=None):
    """The tissue in grey, the segmentation as fillings, a density as lines at the two rims."""
    extent = (*(centre[axes[0]] + SPAN[[0, -1]]), *(centre[axes[1]] + SPAN[[0, -1]]))
    tissue = 0.8 * plane(case.white, axes) + 0.5 * plane(case.grey, axes)
    panel.imshow(tissue, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=1)
    seen = sum(plane(mask.with_data(mask.data.astype(float)), axes, 0) for mask in (session.whole, session.core))
    panel.contourf(seen, [0.5, 1.5, 2.5], colors=["#56B4E9", "#E69F00"], alpha=0.55, extent=extent)
    if density is not None:
        levels = [case.thresholds.oedema, case.thresholds.core]
        panel.contour(plane(density, axes), levels, colors=["#0072B2", "#D55E00"], linewidths=1.4, extent=extent)
    panel.set_title(title, fontsize=9)
    panel.set_xticks([])
    panel.set_yticks([])


figure, row = plt.subplots(1, 2, figsize=(5.7, 3.2), layout="constrained")
for panel, session in zip(row, case.sessions, strict=True):
    draw(panel, PLANES["axial"], session, f"{session.id}, axial")
figure.suptitle("segmentations: core orange, rest of the tumour blue", fontsize=10)
plt.show()

# %% [markdown]
# ## The fit
#
# The command is the one of a terminal. 4 mm elements are coarse (the default is 2.5 mm) but enough for this tumour.

# %%
folder = tempfile.TemporaryDirectory()
out = Path(folder.name) / "fit"
command = ["oncology", "fit", str(case.root), "--out", str(out), "--size", "4", "--no-report"]
print("oncology fit ../data/sub-example01 --out fit --size 4 --no-report")
subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
print(*sorted(path.name for path in out.glob("[a-z]*")))

# %% [markdown]
# ## Truth beside estimate
#
# Each value comes with a 95 % interval, and with whether the scans determine it at all. What they do not determine is
# the prior's: here the diffusion in grey matter, since most of the rim crosses white matter.

# %%
estimate = json.loads((out / "estimate.json").read_text())
truth = json.loads((case.root / "truth.json").read_text())
onset = -260.0  # day on which the synthetic tumour was started (truth.json says so in words)
given = {**{name: truth[name] for name in ("diffusion_white", "diffusion_grey", "proliferation")}, "onset": onset}
print(f"{'':16}{'truth':>8}{'estimate':>10}   {'95 % interval':<20}determined by the scans")
for name, true in given.items():
    found, (low, high) = estimate["parameters"][name], estimate["intervals"][name]
    interval = f"{low:.3g} to {high:.3g}"
    print(f"{name:16}{true:8.3g}{found['value']:10.3g}   {interval:<20}{'yes' if found['identified'] else 'no'}")
away = np.linalg.norm(np.subtract(estimate["parameters"]["seed"]["value"], truth["seed_mm"]))
print(f"the seed is {away:.2f} mm away from the true one")

# %%
names = ["diffusion_white", "proliferation"]
figure, panels = plt.subplots(1, 2, figsize=(7.5, 1.7), layout="constrained")
for panel, name in zip(panels, names, strict=True):
    (low, high), value = estimate["intervals"][name], estimate["parameters"][name]["value"]
    panel.plot([low, high], [0, 0], color="#0072B2", lw=3, label="95 % interval")
    panel.plot(value, 0, "o", color="#0072B2", label="estimate")
    panel.plot(truth[name], 0, "x", color="#D55E00", ms=10, mew=2.5, label="truth")
    panel.set(title=f"{name}, {estimate['parameters'][name]['unit']}", yticks=[], ylim=(-1, 1))
panels[0].legend(loc="upper right", ncols=3, fontsize=7, frameon=False)
plt.show()

# %% [markdown]
# ## Scan against model
#
# Lines are the predicted density at the two rims, 0.25 and 0.60 of the carrying capacity.

# %%
figure, rows = plt.subplots(2, 3, figsize=(8.5, 5.8), layout="constrained")
for row, session in zip(rows, case.sessions, strict=True):
    density = read_volume(out / f"density_{session.id}.nii.gz")
    dice = estimate["dice"][session.id]
    for panel, (name, axes) in zip(row, PLANES.items(), strict=True):
        draw(panel, axes, session, f"{session.id}, {name}, Dice {dice['whole']:.2f}", density)
plt.show()

# %% [markdown]
# ## Growth
#
# The fitted curve with its band goes on for 90 days after the last scan; for other days there is `oncology predict`.

# %%
growth = estimate["growth"]
figure, panel = plt.subplots(figsize=(6.5, 3.0), layout="constrained")
for region, colour in (("whole", "#0072B2"), ("core", "#D55E00")):
    curve = growth[region]
    panel.fill_between(growth["days"], curve["low_ml"], curve["high_ml"], color=colour, alpha=0.25, lw=0)
    panel.plot(growth["days"], curve["volume_ml"], color=colour, label=f"model, {region}")
    scans = [1e-3 * getattr(s, region).data.sum() * getattr(s, region).voxel_volume for s in case.sessions]
    panel.plot([s.day for s in case.sessions], scans, "o", color=colour, mec="black", label=f"scan, {region}")
panel.set(xlabel="day", ylabel="volume, ml", xlim=(-150, None), ylim=(0, None))
panel.legend(fontsize=8, frameon=False)
plt.show()

# %% [markdown]
# ## The main numbers
#
# The true diffusion and proliferation lie within the intervals, the model covers the tumour, and the fit says itself
# which value it could not find.

# %%
for name in names:
    low, high = estimate["intervals"][name]
    assert low < truth[name] < high
    assert estimate["parameters"][name]["identified"]
    assert high / low < 2.0
assert estimate["not_identified"] == ["diffusion_grey"]
assert away < 1.0
assert min(region["whole"] for region in estimate["dice"].values()) > 0.95
folder.cleanup()
