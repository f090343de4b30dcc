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
# We look at the scans, fit the model, and ask whether the fit recovers the true parameters.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import map_coordinates

import oncology as onc

plt.rcParams["figure.dpi"] = 120
case = onc.read_case("../data/sub-example01")
print(case)
print(case.check())

# %% [markdown]
# ## The scans
#
# Images are placed by their affines, in RAS mm: tissue maps and segmentations may have different grids.

# %%
SPAN = np.arange(-45.0, 45.0, 1.0)  # mm around the middle of the tumour
centre = case.sessions[-1].whole.world(np.argwhere(case.sessions[-1].whole.data)).mean(axis=0)
across, up = np.meshgrid(centre[0] + SPAN, centre[1] + SPAN)
points = np.stack([across, up, np.full_like(up, centre[2])], axis=-1)  # of an axial plane, RAS mm


def plane(volume, order=1):
    """Values of an image at the points of the plane."""
    return map_coordinates(volume.data.astype(float), np.moveaxis(volume.voxel(points), -1, 0), order=order)


figure, row = plt.subplots(1, 2, figsize=(5.7, 3.2), layout="constrained")
extent = (across[0, 0], across[0, -1], up[0, 0], up[-1, 0])
for panel, session in zip(row, case.sessions, strict=True):
    tissue = 0.8 * plane(case.white) + 0.5 * plane(case.grey)
    panel.imshow(tissue, cmap="gray", origin="lower", extent=extent, vmin=0, vmax=1)
    seen = plane(session.whole, 0) + plane(session.core, 0)
    panel.contourf(seen, [0.5, 1.5, 2.5], colors=["#56B4E9", "#E69F00"], alpha=0.55, extent=extent)
    panel.set_title(f"{session.id}, axial", fontsize=9)
    panel.set_xticks([])
    panel.set_yticks([])
figure.suptitle("segmentations: core orange, rest of the tumour blue", fontsize=10)
plt.show()

# %% [markdown]
# ## The fit
#
# 4 mm elements are coarse (the default is 2.5 mm) but enough for this tumour. In a terminal the same fit is
# `oncology fit ../data/sub-example01 --out fit --size 4`.

# %%
fit = onc.fit(case, size=4.0)
print(fit)

# %% [markdown]
# ## Parameter estimates
#
# Each value comes with a 95 % interval, and with whether the scans identify it at all. Where they do not, the value
# rests on the prior, as that of the seed's radius here: months of growth have forgotten how large the start was. The
# diffusion in grey matter is the least certain of the rates: most of the boundary crosses white matter, and the fit
# reckons with tissue maps that are off by a quarter of a millimetre (`white_mm` of `[segmentation]` in `case.toml`).

# %%
truth = json.loads((case.root / "truth.json").read_text())
onset = -260.0  # day on which the synthetic tumour was started (truth.json says so in words)
rates = {name: truth[name] for name in ("diffusion_white", "diffusion_grey", "proliferation")}
seed = dict(zip(("seed_x", "seed_y", "seed_z"), truth["seed_mm"], strict=True))
table = fit.to_dataframe()
table.insert(0, "truth", table.index.map({**rates, **seed, "onset": onset}))
away = np.linalg.norm(np.subtract(fit.estimate.seed.value, truth["seed_mm"]))
print(table.to_string(float_format="{:.3g}".format))
print(f"the seed is {away:.2f} mm away from the true one")

# %%
found = {"diffusion_white": fit.estimate.diffusion_white, "proliferation": fit.estimate.proliferation}
figure, panels = plt.subplots(1, 2, figsize=(7.5, 1.7), layout="constrained")
for panel, (name, estimated) in zip(panels, found.items(), strict=True):
    panel.plot(estimated.interval, [0, 0], color="#0072B2", lw=3, label="95 % interval")
    panel.plot(estimated.value, 0, "o", color="#0072B2", label="estimate")
    panel.plot(truth[name], 0, "x", color="#D55E00", ms=10, mew=2.5, label="truth")
    panel.set(title=f"{name}, {estimated.unit}", yticks=[], ylim=(-1, 1))
panels[0].legend(loc="upper right", ncols=3, fontsize=7, frameon=False)
plt.show()

# %% [markdown]
# ## Goodness of fit
#
# Lines are the predicted density at the two boundaries, 0.25 and 0.60 of the carrying capacity. `fit.density(day)` is
# a nibabel image on the grid of the scan of that day; cut at the threshold, it should cover the segmentation.

# %%
dice = {}
for session in case.sessions:
    model = fit.density(session.day).get_fdata() > case.thresholds.oedema
    dice[session.id] = 2.0 * (model & session.whole.data).sum() / (model.sum() + session.whole.data.sum())
    print(f"{session.id}: Dice of the whole tumour {dice[session.id]:.3f}")
fit.plot.slices("ses-01")

# %%
fit.plot.slices("ses-02")

# %% [markdown]
# ## Prediction
#
# The fitted curve with its 95 % interval goes on after the last scan, for up to 90 days, while the tumour stays within
# the mesh of the fit. `fit.predict` gives volumes, densities and radiotherapy targets on later days, on a larger mesh
# where that is needed. The intervals account for parameter uncertainty only.

# %%
fit.plot.growth()

# %%
forecast = fit.predict(days=[30, 60, 90])
volumes = forecast.volume("whole")
print(forecast)

# %% [markdown]
# ## The main numbers
#
# The true diffusion and proliferation lie within the intervals, the model covers the tumour, and the fit reports which
# parameters it cannot identify.

# %%
for name, estimated in found.items():
    low, high = estimated.interval
    assert low < truth[name] < high
    assert estimated.identified
    assert high / low < 2.0
assert fit.estimate.not_identified == ("diffusion_grey", "seed_radius")
assert list(table.index[~table["identified"]]) == ["diffusion_grey", "seed_radius"]
assert away < 1.0
assert min(regions["whole"] for regions in fit.estimate.dice.values()) > 0.95
assert min(dice.values()) > 0.95
assert volumes["median"].is_monotonic_increasing
assert (volumes["2.5 %"] < volumes["median"]).all() and (volumes["median"] < volumes["97.5 %"]).all()
