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
# # A network that is one differential equation
#
# The standalone NODE $x' = \tanh(W(t)x + b(t))$ tells two circles apart. Its weights are functions of depth: the
# descent, the smoothness and the guarantees below all use that.
#
# A residual network adds a small change in each layer, $x_{k+1} = x_k + h\,f(x_k, W_k)$, which is Euler's method. Taken
# seriously, its layers are time steps, and its weights samples of a function of time. Then a network has a number of
# layers only as a numerical choice, as a simulation has a number of time steps, and the weights live in a space of
# functions where one may choose what "steep" means.
#
# A gradient is the direction of steepest descent *per unit of length*, and length depends on the inner product. In
# $L^2$ the weights of neighbouring depths do not know of each other. In $H^1$, where the length of a function counts
# its slope too, the gradient is the solution of $g - \ell^2 g'' = g_{L^2}$: the same derivative, smoothed over a
# distance $\ell$ in depth. The minimum is no other, but the path to it is, and the path decides which of many minima is
# found.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from oncology.nodes.robustness.attack import ProjectedGradient
from oncology.nodes.classifier import NODEClassifier
from oncology.nodes.cost import Cost
from oncology.nodes.data import synthetic
from oncology.nodes.depth import DepthGrid
from oncology.nodes.standalone import StandaloneNODE
from oncology.nodes.training_problem import TrainingProblem
from oncology.nodes.robustness.sensitivity import depth_profile
from oncology.nodes.robustness.tube import certified_radius
from oncology.optimise import ConjugateGradient, Stop, minimise, zero

plt.rcParams["figure.dpi"] = 120
data = synthetic("circles", seed=0)
model = StandaloneNODE(4, DepthGrid(4.0, 40), inputs=(2, 3), outputs=(0, 1))
problem = TrainingProblem(model, Cost(squared=1.0, decay=1e-4), data.train)
start = model.initial(torch.Generator().manual_seed(0))

# %% [markdown]
# ## Conjugate gradients and steepest descent, H1 and L2
#
# The same start, cost and number of iterations. H1 gradients are smooth in depth, with a smoothing length of 0.5.
# Conjugate gradients keep a part of the last direction, and the step along it is not searched for: a tangent run (the
# sensitivity problem, one linear equation for the change of the state) gives the minimiser of the quadratic model, at
# the price of one more pass through the network and without any step size to tune.

# %%
ITERATIONS = 150
methods = {
    "conjugate gradients, H1": (0.5, ConjugateGradient()),
    "steepest descent, H1": (0.5, ConjugateGradient(zero)),
    "conjugate gradients, L2": (0.0, ConjugateGradient()),
}
results, roughness = {}, {}
figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.2), layout="constrained")
for (name, (smoothing, direction)), colour in zip(methods.items(), ("#0072B2", "#D55E00", "#009E73"), strict=True):
    stop = Stop(max_iterations=ITERATIONS)
    result = results[name] = minimise(problem, start, model.space(smoothing), direction, stop=stop)
    roughness[name] = float((result.x.diff(dim=0) ** 2).sum()) / model.grid.step
    left.semilogy([record.value for record in result.history], color=colour, label=name)
    right.plot(np.arange(40) * model.grid.step, result.x[:, 0, 0], color=colour, drawstyle="steps-post")
    print(f"{name:26} cost {result.history[-1].value:.4f}, roughness of the weights {roughness[name]:.3g}")
left.set(xlabel="iteration", ylabel="cost")
left.legend(fontsize=8, frameon=False)
right.set(xlabel="depth", title="one of the weights")
plt.show()

# %% [markdown]
# ## Regions, and which depth matters
#
# The importance of a depth is the norm of the derivative of the margin by the weights there. It comes from the adjoint
# that training uses anyway. A depth of no importance could be stepped over with a longer step, or refined last.

# %%
theta = results["conjugate gradients, H1"].x
classifier, test = NODEClassifier(model, theta), data.test
accuracy = float((classifier.outputs(test.inputs).argmax(-1) == test.classes).double().mean())
run = model.run(theta, model.embed(test.inputs))
profile = depth_profile(run, model.write(2.0 * test.targets - 1.0)).mean(1)
ticks = torch.linspace(-1.6, 1.6, 150, dtype=torch.float64)
x, y = torch.meshgrid(ticks, ticks, indexing="xy")
outputs = classifier.outputs(torch.stack([x.ravel(), y.ravel()], 1))
figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.4), layout="constrained")
left.contourf(x, y, (outputs[:, 1] - outputs[:, 0]).reshape(x.shape), [-9, 0, 9], colors=["#56B4E9", "#E69F00"])
left.scatter(*test.inputs[::3].T, c=test.classes[::3], s=4, cmap="gray", edgecolors="black", linewidths=0.4)
left.set(title=f"accuracy {accuracy:.3f}", aspect="equal")
right.plot((np.arange(40) + 0.5) * model.grid.step, profile, color="#0072B2")
right.set(xlabel="depth", ylabel="importance", ylim=(0, None))
plt.show()

# %% [markdown]
# ## A certified radius, attacked
#
# Within its certified radius no input of a right sample has another class. The attack searches that ball, then larger
# ones, to show that it is able to succeed. The two are different kinds of statement: an attack that fails proves
# nothing, since a better one may succeed, while the radius is proved. It encloses all trajectories that start in the
# ball in a tube around the one of the sample, by how much the linearised flow stretches and by a bound of what
# linearising neglects. A certificate that no attack comes near is safe but of little use: the gap between the two is
# what one works on.

# %%
right = run.final[:, :2].argmax(-1) == test.classes
inputs, classes = test.inputs[right][:200], test.classes[right][:200]
radius = certified_radius(model, theta, model.run(theta, model.embed(inputs)))
attack, factors = ProjectedGradient(), (1.0, 1.1, 1.3, 2.0)
fractions = []
for factor in factors:
    source = torch.Generator().manual_seed(1)
    fractions.append(float(attack(classifier, inputs, classes, factor * radius, source).succeeded.double().mean()))
    print(f"{factor:g} x the certified radius: {fractions[-1]:.1%} of the attacks succeed")
print(f"median certified radius {float(radius.median()):.3f}")

# %% [markdown]
# ## The main numbers

# %%
assert accuracy > 0.97
assert results["conjugate gradients, H1"].history[-1].value < results["steepest descent, H1"].history[-1].value
assert roughness["conjugate gradients, H1"] < roughness["conjugate gradients, L2"]
assert float(radius.median()) > 0.0
assert fractions[0] == 0.0 and fractions[-1] > 0.0
