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
# # Science inside the network, or in its loss
#
# Two ways to teach a network that a tumour obeys $u_t = D u_{xx} + \rho\,u(1-u)$. In a *science-activated* NODE the
# right-hand side of the equation is the activation, so that every state the network can reach obeys it. In a
# *physics-informed* one the equation is a term of the loss. Both get the same data, a noisy front on one day and its
# start, and seek the same unknowns, $D$ and $\rho$.
#
# The second way is the popular one, and needs no solver: draw points, differentiate the network, add the squared
# residual to the loss. Its price is that the equation holds as far as the optimiser got, that its weight against the
# data has to be chosen, and that the unknown coefficients hide behind thousands of weights that fit the data first. The
# first way keeps what numerical analysis knows: a discretisation with an order of convergence, an exact discrete
# adjoint, and no parameter that is not in the equation. It needs a solver, which is the network.

# %%
import matplotlib.pyplot as plt
import torch

from oncology.nodes.depth import DepthGrid
from oncology.science.equations.reaction_diffusion import PowerLaw, ReactionDiffusion, power_wave
from oncology.science.grid import interval
from oncology.science.estimation import estimate
from oncology.science.node import ScienceNODE
from oncology.science.observe import Everywhere, Measurement, noisy
from oncology.science.pinn import PinnProblem, fit_pinn
from oncology.science.equation_problem import EquationProblem
from oncology.science.runge_kutta import SDIRK2
from oncology.science.unknowns import number

plt.rcParams["figure.dpi"] = 120
DIFFUSION, PROLIFERATION, DAYS = 0.5, 0.2, 20.0  # mm^2/day, 1/day, day

grid = interval(-20.0, 40.0, 120)
x = grid.points[:, 0]
start, exact = (power_wave(x, t, DIFFUSION, PROLIFERATION, 1) for t in (0.0, DAYS))
data = noisy(exact, 0.02, torch.Generator().manual_seed(3))
level = 0.02 * float((grid.weights * exact**2).sum()) ** 0.5

# %% [markdown]
# ## In the core
#
# Before anything is fitted, the singular values of the sensitivities say what one front determines. They are the
# singular values of the matrix whose columns are the changes of the data by each unknown; their ratio is how much worse
# the worst combination is known than the best. A single front with a known start determines both numbers: its speed
# gives the product, its width the ratio.

# %%
model = ScienceNODE(ReactionDiffusion(grid, PowerLaw(1)), DepthGrid(DAYS, 60), SDIRK2)
unknowns = (number("diffusion", 2.0 * DIFFUSION), number("proliferation", 2.0 * PROLIFERATION))
problem = EquationProblem(
    model, unknowns, {"initial": start}, (Measurement(model.count, Everywhere(), data, grid.weights),)
)
core = estimate(problem, level)
for name, true in (("diffusion", DIFFUSION), ("proliferation", PROLIFERATION)):
    print(f"{name:14} {core.values[name]:.4f} (true {true}), sd of its logarithm {core.sd[name]:.3f}")

# %% [markdown]
# ## In the loss
#
# A tanh network of place and time with the residual of the equation at 1000 points, and the same first guesses. Adam
# takes it near a minimum, L-BFGS (a quasi-Newton method in the whole set of weights) from there; Adam alone would need
# many times the evaluations.

# %%
places = torch.cat([torch.stack([x, torch.full_like(x, t)], dim=1) for t in (0.0, DAYS)])
informed = PinnProblem(
    -20.0,
    40.0,
    DAYS,
    lambda f, q: f.t - q["diffusion"] * f.xx - q["proliferation"] * f.u * (1.0 - f.u),
    places,
    torch.cat([start[0], data[0]]),
    unknowns={"diffusion": 2.0 * DIFFUSION, "proliferation": 2.0 * PROLIFERATION},
)
loss = fit_pinn(informed, torch.Generator().manual_seed(5), lambda n: n >= 800, refine_after=400)
print({name: round(value, 4) for name, value in loss.values.items()}, "after", loss.evaluations, "evaluations")

# %%
times = (0.0, 10.0, 20.0, 40.0)
q = tuple(torch.tensor([core.values[name]], dtype=torch.float64) for name in ("diffusion", "proliferation"))
onward = ScienceNODE(model.equation, DepthGrid(40.0, 120), SDIRK2).run(q, start).states
figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True, layout="constrained")
for axis, title in zip(axes, ("science in the core", "physics in the loss"), strict=True):
    for number_, day in enumerate(times):
        colour = plt.cm.viridis(number_ / 4)
        axis.plot(x, power_wave(x, day, DIFFUSION, PROLIFERATION, 1)[0], color=colour, lw=4, alpha=0.3)
        found = onward[3 * int(day)][0] if title.startswith("science") else loss.at(x, day)
        axis.plot(x, found, color=colour, lw=1.2, label=f"day {day:.0f}")
    axis.plot(x, data[0], ".", color="black", ms=2, label="data, day 20")
    axis.set(title=title, xlabel="place (mm)", ylim=(-0.15, 1.25))
axes[0].set_ylabel("cell density (fraction of the capacity)")
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# Thick and pale is the truth. Day 40 lies beyond the data: the equation in the core goes on to it, the network that met
# the equation only at points before day 20 drifts off. That is no failure of training. Nothing asks the second network
# to obey the equation at a later time, and what a network does where nothing was asked of it is chance.

# %%
later = power_wave(x, 40.0, DIFFUSION, PROLIFERATION, 1)[0]


def error(found, true):
    return float((found - true).norm() / true.norm())


rows = [
    ("largest error of a coefficient", *(
        max(abs(fit.values["diffusion"] / DIFFUSION - 1), abs(fit.values["proliferation"] / PROLIFERATION - 1))
        for fit in (core, loss)
    )),
    ("error of the density on day 20", error(onward[60][0], exact[0]), error(loss.at(x, 20.0), exact[0])),
    ("error of the density on day 40", error(onward[120][0], later), error(loss.at(x, 40.0), later)),
]
for title, inside, outside in rows:
    print(f"{title:32} core {inside:8.4f}   loss {outside:8.4f}")
    assert inside < outside
for name, true in (("diffusion", DIFFUSION), ("proliferation", PROLIFERATION)):
    assert abs(core.values[name] / true - 1.0) < 3.5 * core.sd[name] + 0.01
assert rows[2][1] < 0.05
