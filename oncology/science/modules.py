"""A differential equation as a torch module: states in, states after some time out, unknown coefficients as parameters.

The backward pass is the exact adjoint of the time steps, so that an equation can stand anywhere in a network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.autograd import Pullback, by_adjoint
from oncology.nodes.depth import DepthGrid
from oncology.nodes.scheme import RK4
from oncology.science.equation import Coefficient, Coefficients, Equation, SemiLinear
from oncology.science.exponential import ETDRK2
from oncology.science.node import ScienceNODE
from oncology.science.posed import FunctionEquation, PosedEquation, RightHandSide
from oncology.science.runge_kutta import SDIRK2, explicit
from oncology.science.stepper import Stepper

__all__ = ["Science"]

DENSE = 256
"""Largest state whose dense Jacobian is factorised in every implicit step."""


class Science(nn.Module):
    """An equation run for a time.

    Attributes:
        time: length of a run.
        steps: time steps of a run.
        stepper: time integrator; None takes the one that suits the equation.
        sought: the unknown coefficients by their names, in double precision; logarithms of positive ones.

    Example:
        >>> import torch
        >>> from oncology.science.grid import interval
        >>> from oncology.science.posed import heat
        >>> model = Science(heat(interval(0.0, 1.0, 16), conductivity="k"), time=0.2, unknowns={"k": 0.1})
        >>> model(torch.ones(16)).shape
        torch.Size([16])
        >>> print(model)
        Science(equation=heat, time=0.2, steps=20, k=0.1 mm^2/day)
    """

    def __init__(
        self,
        equation: PosedEquation | RightHandSide,
        time: float,
        steps: int = 20,
        *,
        unknowns: Mapping[str, float] | None = None,
        positive: bool | Collection[str] = True,
        stepper: Stepper | None = None,
    ) -> None:
        """Make the module.

        Args:
            equation: `heat`, `reaction_diffusion`, ... or `pose` of any equation; or a torch function of states (K, n)
                and a mapping of unknowns by name, which returns rates (K, n).
            time: length of a run, in the equation's unit of time.
            steps: time steps of a run.
            unknowns: first guesses by name; 1 for those of an equation that are not named here. A function has no
                other unknowns than these.
            positive: which unknowns of a function are positive, all or none or by name; those are sought as logarithms.
            stepper: time integrator. If not given: ETDRK2 for equations with a diagonal linear part, SDIRK2 for others
                with a sparse or small Jacobian, the classical Runge-Kutta scheme for large dense ones.

        Raises:
            ConfigError: time or steps are not positive, a first guess is of no unknown, or not positive where it is to
                be.
        """
        super().__init__()
        guesses = dict(unknowns or {})
        self.time, self.steps, self.stepper = time, steps, stepper
        DepthGrid(time, steps)  # refuses what makes no sense
        self._posed: PosedEquation | None = None
        self._function: RightHandSide | None = None
        if isinstance(equation, PosedEquation):
            self._posed = equation
            self._coefficients = {name: equation.coefficient(name) for name in equation.unknowns.values()}
        else:
            self._function = equation
            self._coefficients = {
                name: Coefficient(name, positive=positive if isinstance(positive, bool) else name in positive)
                for name in guesses
            }
        foreign = sorted(set(guesses) - set(self._coefficients))
        if foreign:
            raise ConfigError(f"first guesses of {foreign}; the unknowns are {sorted(self._coefficients)}")
        self.sought = nn.ParameterDict()
        for name in self._coefficients:
            self.set(name, guesses.get(name, 1.0))

    def set(self, name: str, value: float | Tensor) -> None:
        """Give an unknown a value, in its unit; a number or (size,).

        Raises:
            ConfigError: it is to be positive and is not, or it has another size.
        """
        coefficient = self._coefficients[name]
        whole = torch.as_tensor(value, dtype=torch.float64).detach().reshape(-1)
        if len(whole) not in (1, coefficient.size):
            raise ConfigError(f"{len(whole)} values of {name}; need 1 or {coefficient.size}")
        if coefficient.positive and not bool((whole > 0).all()):
            raise ConfigError(f"{name} = {float(whole.min()):g}; need a value > 0")
        whole = whole.expand(coefficient.size).clone()
        whole = whole.log() if coefficient.positive else whole
        if name in self.sought:
            with torch.no_grad():
                self.sought[name].copy_(whole)
        else:
            self.sought[name] = nn.Parameter(whole)

    @property
    def coefficients(self) -> dict[str, Coefficient]:
        """The unknowns with their units."""
        return dict(self._coefficients)

    @property
    def values(self) -> dict[str, Tensor]:
        """The unknowns in their units, differentiable by the parameters."""
        return {
            name: self.sought[name].exp() if coefficient.positive else self.sought[name]
            for name, coefficient in self._coefficients.items()
        }

    def posed(self, size: int) -> PosedEquation:
        """The equation, of states with n components.

        Raises:
            ConfigError: it is of states of another size.
        """
        if self._posed is None:
            assert self._function is not None
            equation = FunctionEquation(self._function, size, tuple(self._coefficients.values()))
            return PosedEquation(equation, {}, {name: name for name in self._coefficients})
        if self._posed.equation.size != size:
            raise ConfigError(f"states of {size} values; {self._posed.equation.name} has {self._posed.equation.size}")
        return self._posed

    def model(self, equation: Equation) -> ScienceNODE:
        """The equation with its time steps."""
        return ScienceNODE(equation, DepthGrid(self.time, self.steps), self.stepper or _suited(equation))

    def forward(self, start: Tensor) -> Tensor:
        """States (..., n) after the time, of those at its beginning; computed in double precision."""
        posed = self.posed(start.shape[-1])
        model, values = self.model(posed.equation), self.values
        q = tuple(
            posed.known[c.name] if c.name in posed.known else values[posed.unknowns[c.name]]
            for c in posed.equation.coefficients
        )

        def solve(state: Tensor, *coefficients: Tensor) -> tuple[Tensor, Pullback]:
            run = model.run(coefficients, state)

            def pull(covector: Tensor) -> Coefficients:
                along = covector.new_zeros(model.count + 1, *covector.shape)
                along[-1] = covector
                adjoint = run.adjoint(along)
                return adjoint.initial, *adjoint.coefficients

            return run.final, pull

        flat = start.reshape(-1, start.shape[-1]).double()
        result: Tensor = by_adjoint(solve, flat, *q).to(start.dtype).reshape(start.shape)
        return result

    def extra_repr(self) -> str:
        """Equation and unknowns, for `print`."""
        name = "function" if self._posed is None else self._posed.equation.name
        parts = [f"equation={name}", f"time={self.time:g}", f"steps={self.steps}"]
        for unknown, value in self.values.items():
            unit = self._coefficients[unknown].unit
            number = f"{float(value[0].detach()):g}" if len(value) == 1 else f"({len(value)} values)"
            parts.append(f"{unknown}={number}" + ("" if unit == "1" else f" {unit}"))
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"Science({self.extra_repr()})"


def _suited(equation: Equation) -> Stepper:
    if isinstance(equation, SemiLinear):
        return ETDRK2
    return SDIRK2 if equation.pattern is not None or equation.size <= DENSE else explicit(RK4)
