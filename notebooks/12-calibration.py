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
# # Cohorts and calibration: may I believe an interval?
#
# A 95 % interval is a promise about many patients: of a hundred such intervals, 95 hold the truth. One patient cannot
# keep or break it. This notebook shows how the promise is tested, and why the obvious way to compute intervals from
# images breaks it badly.
#
# **The patient of this notebook** is a front that moves outwards, seen on two days. Its boundary is drawn at 200 places
# around it. A rater, a threshold, or a model that misses a sulcus puts the boundary off by a few tenths of a
# millimetre, and does so over centimetres: neighbouring places are wrong together, and the two scans are wrong nearly
# alike. Two numbers are sought, the radius on the first day and the speed.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from oncology.inverse.reml import DEFAULTS

plt.rcParams["figure.dpi"] = 120
rng = np.random.default_rng(2026)
PLACES, RADIUS, SPEED, DAYS = 200, 15.0, 0.12, np.array([0.0, 60.0])
TAU, LENGTH, BETWEEN, VOXEL = 0.3, 25.0, 0.8, 0.15  # mm, mm, correlation of the two scans, independent part in mm
angle = 2.0 * np.pi * np.arange(PLACES) / PLACES
distance = RADIUS * np.abs(2.0 * np.sin(0.5 * (angle[:, None] - angle[None, :])))
along = np.exp(-distance / LENGTH)
scans = np.array([[1.0, BETWEEN], [BETWEEN, 1.0]])
covariance = TAU**2 * np.kron(scans, along) + VOXEL**2 * np.eye(2 * PLACES)
root = np.linalg.cholesky(covariance)
design = np.stack([np.ones(2 * PLACES), np.repeat(DAYS, PLACES)], axis=1)  # d boundary / d (radius, speed)
truth = np.array([RADIUS, SPEED])

# %% [markdown]
# ## Two ways to an interval
#
# Both start from the same estimate, the least-squares fit. The first takes the scatter of the residuals for independent
# noise, as `curve_fit` and most inversion codes do: 400 places, so the error of a mean is a twentieth of the scatter.
# The second uses the covariance of the displacements: with a correlation length of 25 mm a boundary of 94 mm holds a
# few independent pieces of information, not 200. The estimate $\hat x = A^+ y$ then has the covariance $A^+ C (A^+)^T$.
# The package estimates amplitude, length and correlations from the residuals of each fit by restricted maximum
# likelihood ([equations.md](../docs/equations.md), section 7); here we give them, to see the principle alone.

# %%
pseudo = np.linalg.pinv(design)
EXPERIMENTS = 400
z = {"independent cells": [], "correlated boundaries": []}
for _ in range(EXPERIMENTS):
    seen = design @ truth + root @ rng.normal(size=2 * PLACES)
    found = pseudo @ seen
    scatter = np.sqrt(np.sum((seen - design @ found) ** 2) / (2 * PLACES - 2))
    naive = scatter * np.sqrt(np.diag(pseudo @ pseudo.T))
    honest = np.sqrt(np.diag(pseudo @ covariance @ pseudo.T))
    z["independent cells"].append((found - truth) / naive)
    z["correlated boundaries"].append((found - truth) / honest)
z = {name: np.array(values) for name, values in z.items()}
coverage = {name: (np.abs(values) < 1.96).mean(axis=0) for name, values in z.items()}
for name, values in coverage.items():
    print(f"{name}: 95 % intervals hold radius and speed in {100 * values[0]:.0f} and {100 * values[1]:.0f} %")

# %% [markdown]
# ## The picture to look at
#
# For each experiment take the place of the truth in its posterior, $\Phi(z)$: 0.5 in the middle, near 0 or 1 in the
# tails. If intervals are calibrated these values are uniform, and their histogram is flat (Cook, Gelman and Rubin 2006;
# Talts et al. 2018). A U is overconfidence, a hump is timidity, a slope is bias. Timidity is a fault too: intervals as
# wide as the prior always cover, and say nothing. So a benchmark of intervals reports their width beside the coverage.

# %%
figure, row = plt.subplots(1, 2, figsize=(7.0, 2.9), layout="constrained", sharey=True)
for panel, (name, values) in zip(row, z.items(), strict=True):
    for column, (label, colour) in enumerate((("radius", "#0072B2"), ("speed", "#E69F00"))):
        pit = stats.norm.cdf(values[:, column])
        panel.hist(pit, bins=np.linspace(0, 1, 11), histtype="step", lw=1.8, color=colour, label=label)
    panel.axhspan(*stats.binom.ppf([0.005, 0.995], EXPERIMENTS, 0.1), color="#999999", alpha=0.2, lw=0)
    panel.set(title=name, xlabel=r"$\Phi(z)$")
row[0].set_ylabel(f"of {EXPERIMENTS} experiments, 40 expected")
row[0].legend(fontsize=8, frameon=False)
plt.show()

# %% [markdown]
# The left intervals are far too narrow. It is the usual fate of a Bayesian answer to image data: millions of voxels,
# treated as independent witnesses, make everything look certain. Note that what both scans share
# cancels in the *speed*, which is a difference; a method that puts independent errors on the two scans gets this wrong
# in the other direction, and its interval of the speed is too wide.
#
# ## Few experiments
#
# Eight patients settle nothing. If intervals are right, how often do eight of them show six or fewer hits? And how much
# does the root mean square of $z$ scatter around one?

# %%
for n in (8, 60):
    least, most = stats.binom.ppf([0.005, 0.995], n, 0.95)
    low, high = np.sqrt(stats.chi2.ppf([0.005, 0.995], n) / n)
    print(f"{n} patients: {least:.0f} to {most:.0f} hits, RMS of z {low:.2f} to {high:.2f} (99 % bands)")

# %% [markdown]
# ## Your own cohort
#
# The package's own table, 60 patients grown by another solver, is in [verification.md](../docs/verification.md). To
# repeat it on your data you need a truth, so the patients are synthetic, but the anatomy, the voxels and the days can
# be yours: grow with one solver, fit with the other (`onc.simulate(..)` grows, `onc.fit(.., engine="voxel")` fits),
# never the same on both sides. `oncology cohort plan.toml` runs such a list on a workstation or as Slurm jobs and
# writes one table; a fit that fails is a line of that table and counts as a miss.
#
# Where the residuals of a fit are too few to tell amplitude and length, the package takes these values, and says so:

# %%
print(f"amplitude {DEFAULTS.tau:.2f} mm, length {DEFAULTS.length:.0f} mm")
assert np.all(coverage["independent cells"] < 0.8)
assert np.all(np.abs(coverage["correlated boundaries"] - 0.95) < 0.03)
