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
# # Your own growth law
#
# A growth law is three methods: `rate` ($f$), `flow` (the solution of $u' = f(u)$ after an exposure $\rho t$) and
# `flow_slope` (its derivative by the start). [extending.md](../docs/extending.md) has one with a closed flow. Here is
# the recipe for one without: integrate it, with its derivative, by Runge-Kutta steps.
#
# The law has an Allee effect: sparse cells multiply more slowly, $f(u) = u(1-u)(u+b)/(1+b)$. Ecologists know it from
# small populations; for tumours it is one explanation of why single cells far from the bulk so often stay single. It
# matters for a fit, because the visible boundary is a level of the density, and laws differ in what lies beyond it: a
# logistic front is *pulled* by its sparse cells, so that a target drawn from it reaches far; a front with an Allee
# effect is *pushed* by the dense ones, and its tail is short.
#
# Splitting is what makes a new law cheap. A time step grows each point by itself and diffuses without growth, so that a
# law has to be right at one point only, and everything that a fit needs of it, the exact tangent and adjoint included,
# is the flow and its slope. The exposure $\rho t$ is passed instead of the time, since the rate may be a field, or
# change under treatment.

# %%
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

from oncology.fem.boxes import kuhn_box
from oncology.fem.rates import Rates
from oncology.fem.tumour_model import TumourModel
from oncology.fem.runtime import world
from oncology.verify.verification import equal_steps, homogeneous, relative_error

plt.rcParams["figure.dpi"] = 120


@dataclass(frozen=True)
class Allee:
    """Growth that is slow where cells are sparse, f(u) = u (1 - u) (u + b) / (1 + b)."""

    b: float = 0.2
    steps: int = 4

    def rate(self, u):
        return u * (1.0 - u) * (u + self.b) / (1.0 + self.b)

    def slope(self, u):
        return (self.b + 2.0 * (1.0 - self.b) * u - 3.0 * u * u) / (1.0 + self.b)

    def flow(self, u, exposure):
        return self._march(u, exposure)[0]

    def flow_slope(self, u, exposure):
        return self._march(u, exposure)[1]

    def _march(self, u, exposure):
        h, slope = exposure / self.steps, 1.0 + 0.0 * u
        for _ in range(self.steps):
            k, dk = 0.0 * u, 0.0 * u
            sums, d_sums = 0.0, 0.0
            for fraction, weight in ((0.0, 1.0), (0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
                place, d_place = u + fraction * h * k, slope + fraction * h * dk
                k, dk = self.rate(place), self.slope(place) * d_place
                sums, d_sums = sums + weight * k, d_sums + weight * dk
            u, slope = u + h / 6.0 * sums, slope + h / 6.0 * d_sums
        return u, slope


# %% [markdown]
# ## Against an ODE solver
#
# Where the density is the same everywhere, nothing diffuses: the finite-element model must follow the ODE. A first test
# should isolate what is new, and this one cannot be passed by luck: SciPy integrates the same right-hand side to eleven
# digits, by another method.

# %%
law, rho, days = Allee(), 0.05, np.linspace(20.0, 200.0, 10)
square = homogeneous(world(), kuhn_box([0.0, 0.0], [10.0, 10.0], [4, 4]))
densities = []
for day in days:
    run = TumourModel(square, law).run(Rates(0.2, 0.2, rho), np.full(square.owned, 0.05), equal_steps(day, 40))
    densities.append(run.observations[0])
exact = solve_ivp(lambda t, u: rho * law.rate(u), (0.0, 200.0), [0.05], t_eval=days, rtol=1e-11, atol=1e-13).y[0]
ode_error = max(np.abs(density - u).max() for density, u in zip(densities, exact, strict=True))
print(f"largest difference from the ODE solver: {ode_error:.1e}")

figure, panel = plt.subplots(figsize=(5.5, 3.0), layout="constrained")
panel.plot(days, exact, color="#0072B2", label="Allee, ODE solver")
panel.plot(days, [density.mean() for density in densities], "o", color="#D55E00", label="Allee, finite elements")
panel.set(xlabel="day", ylabel="density", ylim=(0, 1))
panel.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Against the exact travelling wave
#
# With diffusion this is Huxley's equation, whose front $u = 1/(1+e^{(x-ct)/w})$ has the width
# $w=\sqrt{2D/k}$ and the speed $c=\sqrt{Dk/2}\,(1+2b)$, $k = \rho/(1+b)$. Exact waves are rare, so that one takes the
# law for which there is one, and trusts the code for the others. The logistic front from the same start is drawn beside
# it: with the same rate it is more than twice as fast.
#
# To fit a patient with the law, put the class into a module of yours and name it: `oncology fit CASE --law
# my_module:Allee`. The law and its parameters are stored with the results, so that predictions use the same one.

# %%
diffusion, duration, k = 0.13, 300.0, rho / (1.0 + law.b)
line = homogeneous(world(), kuhn_box([-60.0], [120.0], [720]))  # 0.25 mm cells
x = line.points[: line.owned, 0]
width, speed = np.sqrt(2.0 * diffusion / k), np.sqrt(0.5 * diffusion * k) * (1.0 + 2.0 * law.b)
start, end = (1.0 / (1.0 + np.exp((x - speed * day) / width)) for day in (0.0, duration))
found = TumourModel(line, law).run(Rates(diffusion, diffusion, rho), start, equal_steps(duration, 200)).observations[0]
logistic = TumourModel(line).run(Rates(diffusion, diffusion, rho), start, equal_steps(duration, 200)).observations[0]
wave_error = relative_error(line, found, end)
print(f"speed {speed:.4f} mm/day; relative error of the density after {duration:g} days: {wave_error:.1e}")

order = np.argsort(x)
figure, panel = plt.subplots(figsize=(5.5, 3.0), layout="constrained")
panel.plot(x[order], start[order], ":", color="#666666", label="day 0")
panel.plot(x[order], end[order], color="#0072B2", lw=4, alpha=0.5, label="Allee, exact, day 300")
panel.plot(x[order], found[order], color="#D55E00", lw=1.2, label="Allee, finite elements")
panel.plot(x[order], logistic[order], "--", color="#009E73", label="logistic, finite elements")
panel.set(xlabel="x, mm", ylabel="density")
panel.legend(fontsize=8, frameon=False)
plt.show()

# %% [markdown]
# ## The main numbers

# %%
assert ode_error < 1e-6
assert wave_error < 1e-3
