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
# # Equation, prior, adjoint and Gauss-Newton, by hand
#
# Everything that a fit does fits on one page if the brain is a line. This notebook writes it with numpy alone: the
# equation, one time step with its tangent and its adjoint, the Taylor test that tells a right derivative from a nearly
# right one, and the Gauss-Newton iteration with a prior. At the end the same numbers come from the package.
#
# **The equation.** Tumour cells of density $u$ (a fraction of the carrying capacity) move at random and multiply:
#
# $$u_t = (D\,u_x)_x + \rho\,u(1-u), \qquad D\,u_x = 0 \text{ at the ends.}$$
#
# Two numbers rule it: the width of a front, $\sqrt{D/\rho}$, and its speed, $2\sqrt{D\rho}$. The line has white matter
# in the middle, where $D = D_w$, and grey matter outside, where $D$ is a tenth of it.

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import cho_factor, cho_solve

from oncology.optimise import Linearisation, gauss_newton

plt.rcParams["figure.dpi"] = 120
N, H, STEPS, DAYS = 121, 1.0, 60, 120.0
x = H * (np.arange(N) - N // 2)  # mm
dt = DAYS / STEPS
white = (np.abs(0.5 * (x[1:] + x[:-1])) < 25.0).astype(float)  # of each cell


def stiffness(weights):
    """Return the matrix K of linear elements, u' K v = integral of weights u' v', for one weight a cell."""
    matrix = np.zeros((N, N))
    for k, w in enumerate(weights / H):
        matrix[k : k + 2, k : k + 2] += w * np.array([[1.0, -1.0], [-1.0, 1.0]])
    return matrix


K = stiffness(white + 0.1 * (1.0 - white))  # for D_w = 1
mass = np.full(N, H)
mass[[0, -1]] *= 0.5  # lumped: the integral of each hat function

# %% [markdown]
# ## One step
#
# A step is half a step of growth, a step of diffusion, half a step of growth (Strang splitting, second order in time).
# Growth alone has the closed solution $u \mapsto u/(u + (1-u)e^{-\rho\tau})$, so that no step is too long for it. For
# diffusion we take Crank-Nicolson, $(M + \tfrac{\tau}{2}DK)\,v = (M - \tfrac{\tau}{2}DK)\,u$. The unknowns are
# $p = (\ln D_w, \ln\rho)$: logarithms, since both are positive and known by factors.


# %%
def grow(u, rho, tau):
    """Return the density after growth alone, and its derivatives by u and by rho."""
    e = np.exp(-rho * tau)
    bottom = u + (1.0 - u) * e
    return u / bottom, e / bottom**2, tau * e * u * (1.0 - u) / bottom**2


def run(p):
    """Return the density on the last day and all that the derivatives need."""
    diffusion, rho = np.exp(p)
    left = cho_factor(np.diag(mass) + 0.5 * dt * diffusion * K)
    u, kept = 0.4 * np.exp(-(x**2) / 18.0), []
    for _ in range(STEPS):
        first = grow(u, rho, 0.5 * dt)
        spread = cho_solve(left, mass * first[0] - 0.5 * dt * diffusion * (K @ first[0]))
        second = grow(spread, rho, 0.5 * dt)
        kept.append((first, spread, second))
        u = second[0]
    return u, (diffusion, rho, left, kept)


# %% [markdown]
# ## Tangent and adjoint
#
# The **tangent** carries a change of the unknowns forward through the same steps: each line is the derivative of the
# line above it. The **adjoint** carries a weight on the last density backward: each line is the transpose of a line of
# the tangent, in the opposite order. Nothing is derived anew, and nothing is approximated; that is what "discrete
# adjoint" means. One tangent gives the derivative of all densities by one unknown; one adjoint gives the derivative of
# one number by all unknowns. With eight unknowns tangents are affordable and give the Gauss-Newton matrix; with a field
# of 50,000 unknowns only the adjoint is.


# %%
def tangent(kept, dp):
    """Return the change of the last density for the change dp of (ln D_w, ln rho)."""
    diffusion, rho, left, steps = kept
    du = np.zeros(N)
    for (v, v_u, v_rho), spread, (_, w_u, w_rho) in steps:
        dv = v_u * du + v_rho * rho * dp[1]
        right = mass * dv - 0.5 * dt * diffusion * (K @ dv) - 0.5 * dt * diffusion * dp[0] * (K @ (v + spread))
        du = w_u * cho_solve(left, right) + w_rho * rho * dp[1]
    return du


def adjoint(kept, weight):
    """Return the derivative of weight . (last density) by (ln D_w, ln rho)."""
    diffusion, rho, left, steps = kept
    a, gradient = weight.copy(), np.zeros(2)
    for (v, v_u, v_rho), spread, (_, w_u, w_rho) in reversed(steps):
        gradient[1] += rho * (w_rho @ a)
        b = cho_solve(left, w_u * a)
        gradient[0] -= 0.5 * dt * diffusion * (b @ (K @ (v + spread)))
        c = mass * b - 0.5 * dt * diffusion * (K @ b)
        gradient[1] += rho * (v_rho @ c)
        a = v_u * c
    return gradient


# %% [markdown]
# **The dot test.** For any direction and any weight, (weight, tangent) and (adjoint, direction) are the same number.
# It holds to rounding errors, or one of the two is wrong.
#
# **The Taylor test.** The remainder $|J(p + \epsilon d) - J(p) - \epsilon\,J'(p)d|$ must fall like $\epsilon^2$: halve
# $\epsilon$, and it becomes a quarter. A derivative that is one per cent off still looks right to the eye, but its
# remainder falls like $\epsilon$. So the rate is the test, not the size.

# %%
rng = np.random.default_rng(1)
truth = np.log([0.25, 0.06])
u, kept = run(truth)
direction, weight = rng.normal(size=2), rng.normal(size=N)
forward, backward = weight @ tangent(kept, direction), adjoint(kept, weight) @ direction
dot_error = abs(forward - backward) / abs(forward)
print(f"dot test: relative difference {dot_error:.1e}")

steps = 0.02 * 0.5 ** np.arange(6)
slope = adjoint(kept, weight) @ direction
change = np.array([weight @ (run(truth + e * direction)[0] - u) for e in steps])
remainders = {
    "right derivative": np.abs(change - steps * slope),
    "1 % wrong": np.abs(change - steps * 1.01 * slope),
}
rates = {name: np.log2(r[:-1] / r[1:]) for name, r in remainders.items()}
for name, rate in rates.items():
    print(f"{name}: rates", rate.round(2))

figure, panel = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
for (name, r), colour in zip(remainders.items(), ("#0072B2", "#D55E00"), strict=True):
    panel.loglog(steps, r, "o-", color=colour, label=name)
panel.loglog(steps, remainders["right derivative"][0] * (steps / steps[0]) ** 2, ":", color="#666666", label="order 2")
panel.set(xlabel=r"$\epsilon$", ylabel="remainder")
panel.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Data, prior and posterior
#
# A scanner shows no density but a region, the part of the line where $u$ exceeds a threshold. Here we are kinder, and
# give the density with noise. The **prior** says what is known before any scan: $D_w$ and $\rho$ within a factor of
# about three. The estimate minimises
#
# $$J(p) = \tfrac{1}{2\sigma^2}\,|u(p) - d|^2 + \tfrac12\,(p - \bar p)^T P^{-1} (p - \bar p).$$
#
# **Gauss-Newton** replaces $u(p)$ by its tangent plane in each step. The matrix
# $H = A^TA/\sigma^2 + P^{-1}$, with the tangents as columns of $A$, is what the step solves with, and at the end its
# inverse is the covariance of the posterior. A search along the step would be needed further from the solution; here
# full steps converge.

# %%
sigma, mean, sd = 0.02, np.log([0.15, 0.04]), np.full(2, 0.6)
data = u + sigma * rng.normal(size=N)
p, costs = mean.copy(), []
for _ in range(8):
    u, kept = run(p)
    A = np.stack([tangent(kept, unit) for unit in np.eye(2)], axis=1)
    residual = u - data
    costs.append(0.5 * residual @ residual / sigma**2 + 0.5 * np.sum(((p - mean) / sd) ** 2))
    gradient = A.T @ residual / sigma**2 + (p - mean) / sd**2
    H_matrix = A.T @ A / sigma**2 + np.diag(sd**-2)
    p = p - np.linalg.solve(H_matrix, gradient)
posterior = np.sqrt(np.diag(np.linalg.inv(H_matrix)))
print("cost:", np.round(costs, 2))
for name, value, error, true in zip(("D_w", "rho"), np.exp(p), posterior, np.exp(truth), strict=True):
    low, high = value * np.exp(np.array([-1.96, 1.96]) * error)
    print(f"{name}: {value:.4f}, 95 % interval {low:.4f} to {high:.4f}, truth {true:g}")

# %% [markdown]
# The gradient of the adjoint and that of the tangents agree, and the cost falls to about half the number of data,
# which is what noise of the assumed size leaves. Far too small a cost would say that $\sigma$ is too large, far too
# large a one that the model cannot be right: the same question that the verdict of a fit answers for segmentations.
#
# ## The same from the package
#
# The optimiser of a fit takes any object with `evaluate` and `linearise`. It damps its steps (Levenberg-Marquardt), so
# that it also gets home from further away.


# %%
class Problem:
    """The cost of this notebook, as the optimiser wants it."""

    def evaluate(self, p):
        residual = run(p)[0] - data
        return 0.5 * residual @ residual / sigma**2 + 0.5 * np.sum(((p - mean) / sd) ** 2)

    def linearise(self, p):
        u, kept = run(p)
        A = np.stack([tangent(kept, unit) for unit in np.eye(2)], axis=1)
        gradient = adjoint(kept, (u - data) / sigma**2) + (p - mean) / sd**2
        return Linearisation(self.evaluate(p), gradient, A.T @ A / sigma**2 + np.diag(sd**-2))


result = gauss_newton(Problem(), np.log([0.03, 0.15]))
print(result.status.explanation, np.exp(result.x), f"{result.iterations} steps")

figure, panel = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
panel.plot(x, data, ".", ms=3, color="#999999", label="data")
for label, at, style in (("prior mean", mean, ":"), ("estimate", p, "-")):
    panel.plot(x, run(at)[0], style, color="#0072B2", label=label)
panel.axvspan(-25.0, 25.0, color="#F0E442", alpha=0.15, lw=0, label="white matter")
panel.set(xlabel="x, mm", ylabel="density")
panel.legend(fontsize=8, frameon=False)
plt.show()

# %% [markdown]
# What a patient adds: three dimensions on tetrahedra, six more unknowns (seed, onset, $D_g/D_w$, the seed's radius),
# boundaries instead of densities, and neighbouring residuals that are not independent, which is where the honest width
# of the intervals comes from ([equations.md](../docs/equations.md), sections 5 to 7).

# %%
assert dot_error < 1e-10
assert np.all(np.abs(rates["right derivative"][:4] - 2.0) < 0.1)
assert np.all(rates["1 % wrong"][2:] < 1.5)
assert np.allclose(result.x, p, atol=1e-4)
assert np.all(np.abs(p - truth) < 3.0 * posterior)
