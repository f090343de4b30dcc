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
# # What one scan says, and what two say
#
# The boundary of a region on a scan is a level of the density. The two boundaries of one scan (oedema and core) give
# the *width* of the front, which is proportional to $\sqrt{D/\rho}$. Only a second scan can tell how *fast* the front
# moves, $2\sqrt{D\rho}$: a slow tumour that began early looks like a fast one that began late. We show this with two
# fits of the same patient, then with two tumours.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from oncology.fem.patient import FiniteElementEngines
from oncology.fem.runtime import world
from oncology.imaging import Case
from oncology.inverse.estimate import combinations, parameter_quantities
from oncology.inverse.fit import FitSettings, fit_case
from oncology.model.fractions import volume_fraction

plt.rcParams["figure.dpi"] = 65
TRUTH = {"diffusion_white": 0.20, "proliferation": 0.025}  # data/sub-example01/truth.json
both = Case.read("../data/sub-example01")
cases = {"one scan": replace(both, sessions=both.sessions[:1]), "two scans": both}

# %% [markdown]
# ## Fits to one scan and to both
#
# The same settings; 5 mm elements are coarse, and enough for what we are after.

# %%
fits = {name: fit_case(FiniteElementEngines(world()), case, FitSettings(size=5.0)) for name, case in cases.items()}
tables = {}
for name, fit in fits.items():
    tables[name] = {
        **parameter_quantities(fit.unknowns, fit.posterior),
        **combinations(fit.unknowns, fit.posterior),
    }
    print(f"{name:22}{'value':>9} {'unit':<11}{'95 % interval':<20}determined by the data")
    for quantity in tables[name].values():
        interval = "{:.3g} to {:.3g}".format(*quantity.interval)
        mark = "yes" if quantity.identified else "no"
        print(f"  {quantity.name:20}{quantity.value:9.3g} {quantity.unit:<11}{interval:<20}{mark}")

# %% [markdown]
# With one scan neither $D_w$ nor $\rho$ is determined: their intervals are those of the prior. What the scan does
# determine is $\sqrt{D_w/\rho}$. With two scans both are determined.

# %%
figure, panel = plt.subplots(figsize=(5.2, 4.0), layout="constrained")
circle = np.linspace(0.0, 2.0 * np.pi, 200)
for (name, fit), colour in zip(fits.items(), ("#56B4E9", "#0072B2"), strict=True):
    pick = [0, 2]  # ln D_w and ln rho
    root = np.linalg.cholesky(fit.posterior.covariance[np.ix_(pick, pick)])
    ellipse = fit.posterior.mean[pick, None] + 2.4477 * root @ [np.cos(circle), np.sin(circle)]
    panel.fill(*np.exp(ellipse), color=colour, alpha=0.5, label=f"{name}, 95 %")
spread = np.array([0.03, 1.2])
ratio = TRUTH["proliferation"] / TRUTH["diffusion_white"]
panel.plot(spread, ratio * spread, "--", color="#D55E00", lw=1.2, label=r"true $\sqrt{D/\rho}$")
panel.plot(*TRUTH.values(), "x", color="#D55E00", ms=10, mew=2.5, label="truth")
panel.set(xscale="log", yscale="log", xlabel=r"$D_w$, mm²/day", ylabel=r"$\rho$, 1/day", xlim=spread)
panel.legend(fontsize=8, frameon=False)
plt.show()

# %% [markdown]
# ## Singular values
#
# In units of the prior, the data's information has these singular values: how many times better the data know a
# direction of the unknowns than the prior does. Below one the prior knows better.

# %%
figure, panel = plt.subplots(figsize=(5.5, 3.0), layout="constrained")
for (name, fit), mark, colour in zip(fits.items(), ("s", "o"), ("#56B4E9", "#0072B2"), strict=True):
    panel.semilogy(np.arange(1, 8), np.sqrt(fit.posterior.strengths), mark + "-", color=colour, label=name)
panel.axhline(1.0, color="#666666", ls=":")
panel.set(xlabel="direction", ylabel="prior sd over data sd")
panel.legend(frameon=False)
plt.show()
speeds = {}
for name, fit in fits.items():
    # along this one of the unknowns everything gets faster while the first scan stays as it is
    names = list(fit.unknowns.names)
    faster = np.zeros(len(names))
    for unknown, sign in (("ln_diffusion_white", 1.0), ("ln_proliferation", 1.0), ("ln_duration", -1.0)):
        faster[names.index(unknown)] = sign / np.sqrt(3.0)
    speeds[name] = fit.posterior.data_sd(faster)
    print(f"{name}: sd of the logarithm of the pace, from the data alone: {speeds[name]:.2g}")

# %% [markdown]
# ## Two tumours that one scan cannot tell apart
#
# Take the fit to both scans. Halve diffusion and proliferation, double the age: the density on day 0 stays (the model
# depends on $Dt$ and $\rho t$ only), on day 42 it does not.

# %%
fit = fits["two scans"]
fast = fit.unknowns.tumour(fit.identified.x)
slow = replace(  # onset counts from day 0, the day of the first scan
    fast,
    diffusion_white=0.5 * fast.diffusion_white,
    diffusion_grey=0.5 * fast.diffusion_grey,
    proliferation=0.5 * fast.proliferation,
    onset=2.0 * fast.onset,
)
engine, space = fit.level.engine, fit.level.space
tumours = {
    name: engine.run(tumour, engine.plan(tumour, both.days)).densities
    for name, tumour in (("as fitted", fast), ("half as fast, twice as old", slow))
}


def regions(density):
    """Fraction of each cell that lies in the whole tumour."""
    return volume_fraction(space.to_cells(density), both.thresholds.oedema)[0]


def overlap(a, b):
    """Dice overlap of two regions given as fractions of cells."""
    return 2.0 * float(space.volumes @ np.minimum(a, b)) / float(space.volumes @ (a + b))


seen = ([regions(density) for density in densities] for densities in tumours.values())
dice = [overlap(a, b) for a, b in zip(*seen, strict=True)]
for session, value in zip(both.sessions, dice, strict=True):
    print(f"{session.id}, day {session.day:g}: Dice overlap of the two tumours {value:.3f}")

# %%
figure, row = plt.subplots(1, 2, figsize=(7.0, 3.4), layout="constrained", sharey=True)
middle = np.array(fast.seed)
near = np.abs(space.owned[:, 2] - middle[2]) < 4.0
for panel, session in zip(row, range(2), strict=True):
    for (name, densities), colour in zip(tumours.items(), ("#0072B2", "#D55E00"), strict=True):
        away = np.linalg.norm(space.owned[near] - middle, axis=1)
        panel.plot(away, densities[session][near], ".", ms=3, color=colour, label=name)
    panel.set(title=f"{both.sessions[session].id}, day {both.sessions[session].day:g}", xlabel="mm from the seed")
    for threshold in (both.thresholds.oedema, both.thresholds.core):
        panel.axhline(threshold, color="#666666", ls=":", lw=1)
row[0].set_ylabel("density")
row[0].legend(fontsize=8, frameon=False)
plt.show()

# %% [markdown]
# ## The main numbers

# %%
one, two = tables["one scan"], tables["two scans"]
assert not one["diffusion_white"].identified and not one["proliferation"].identified
assert one["infiltration_length"].identified
low, high = one["infiltration_length"].interval
assert low < np.sqrt(TRUTH["diffusion_white"] / TRUTH["proliferation"]) < high
for name, true in TRUTH.items():
    low, high = two[name].interval
    assert two[name].identified and low < true < high
assert speeds["one scan"] > 5.0 * speeds["two scans"]
assert dice[0] > 0.99 and dice[1] < 0.9
