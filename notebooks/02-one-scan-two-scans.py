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

import oncology as onc
from oncology.model.fractions import volume_fraction

plt.rcParams["figure.dpi"] = 120
TRUTH = {"diffusion_white": 0.20, "proliferation": 0.025}  # data/sub-example01/truth.json
both = onc.read_case("../data/sub-example01")
cases = {"one scan": replace(both, sessions=both.sessions[:1]), "two scans": both}

# %% [markdown]
# ## Fits to one scan and to both
#
# The same settings; 5 mm elements are coarse, and enough for what we are after. "Identified" means that the data
# determine the value; otherwise it comes from the prior.

# %%
fits = {name: onc.fit(case, size=5.0) for name, case in cases.items()}
for fit in fits.values():
    width = fit.estimate.infiltration_length
    print(fit)
    print("front width sqrt(D/rho): {:.2f} mm, {:.2f} to {:.2f} mm".format(width.value, *width.interval))
    print(f"front width identified: {'yes' if width.identified else 'no'}\n")

# %% [markdown]
# With one scan neither $D_w$ nor $\rho$ is determined: their intervals are those of the prior. What the scan does
# determine is $\sqrt{D_w/\rho}$. With two scans both are determined.

# %%
figure, panel = plt.subplots(figsize=(5.2, 4.0), layout="constrained")
circle = np.linspace(0.0, 2.0 * np.pi, 200)
for (name, fit), colour in zip(fits.items(), ("#56B4E9", "#0072B2"), strict=True):
    pick = [0, 2]  # ln D_w and ln rho
    mean, covariance = (np.array(fit.estimate.posterior[key]) for key in ("mean", "covariance"))
    root = np.linalg.cholesky(covariance[np.ix_(pick, pick)])
    ellipse = mean[pick, None] + 2.4477 * root @ [np.cos(circle), np.sin(circle)]
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
# direction of the unknowns than the prior does. Below one the prior knows better. The posterior precision is the sum of
# the two, so that the data's part is the posterior's without the prior's.


# %%
def information(estimate):
    """Return the data's information in units of the prior: variance of prior over data, directions, the prior's sd.

    Below 1e-4 the data say nothing, and rounding errors decide.
    """
    sd = np.array([estimate.prior[name]["sd"] for name in estimate.posterior["names"]])
    precision = sd[:, None] * np.linalg.inv(estimate.posterior["covariance"]) * sd
    strengths, directions = np.linalg.eigh(precision - np.eye(len(sd)))
    return np.maximum(strengths, 1e-4), directions, sd


figure, panel = plt.subplots(figsize=(5.5, 3.0), layout="constrained")
for (name, fit), mark, colour in zip(fits.items(), ("s", "o"), ("#56B4E9", "#0072B2"), strict=True):
    strengths = information(fit.estimate)[0][::-1]
    panel.semilogy(np.arange(len(strengths)) + 1, np.sqrt(strengths), mark + "-", color=colour, label=name)
panel.axhline(1.0, color="#666666", ls=":")
panel.set(xlabel="direction", ylabel="prior sd over data sd")
panel.legend(frameon=False)
plt.show()
speeds = {}
for name, fit in fits.items():
    # along this direction of the unknowns everything gets faster while the first scan stays as it is
    names = fit.estimate.posterior["names"]
    faster = np.zeros(len(names))
    for unknown, sign in (("ln_diffusion_white", 1.0), ("ln_proliferation", 1.0), ("ln_duration", -1.0)):
        faster[names.index(unknown)] = sign / np.sqrt(3.0)
    strengths, directions, sd = information(fit.estimate)
    speeds[name] = np.sqrt(((directions.T @ (sd * faster)) ** 2 / strengths).sum())
    print(f"{name}: sd of the logarithm of the pace, from the data alone: {speeds[name]:.2g}")

# %% [markdown]
# ## Two tumours that one scan cannot tell apart
#
# Take the fit to both scans. Halve diffusion and proliferation, double the age: the density on day 0 stays (the model
# depends on $Dt$ and $\rho t$ only), on day 42 it does not.

# %%
estimate = fits["two scans"].estimate
rates = {name: estimate.scalar(name).value for name in ("diffusion_white", "diffusion_grey", "proliferation")}
fast = onc.Tumour(**rates, seed=estimate.seed.value, onset=estimate.onset.value)
slow = replace(  # onset counts from day 0, the day of the first scan
    fast,
    diffusion_white=0.5 * fast.diffusion_white,
    diffusion_grey=0.5 * fast.diffusion_grey,
    proliferation=0.5 * fast.proliferation,
    onset=2.0 * fast.onset,
)
engine = onc.FiniteElements(onc.mesh(both, size=5.0), both, law=onc.Logistic())
space = engine.space
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
one, two = fits["one scan"].estimate, fits["two scans"].estimate
assert not one.diffusion_white.identified and not one.proliferation.identified
assert one.infiltration_length.identified
low, high = one.infiltration_length.interval
assert low < np.sqrt(TRUTH["diffusion_white"] / TRUTH["proliferation"]) < high
for name, true in TRUTH.items():
    low, high = two.scalar(name).interval
    assert two.scalar(name).identified and low < true < high
assert speeds["one scan"] > 5.0 * speeds["two scans"]
assert dice[0] > 0.99 and dice[1] < 0.9
