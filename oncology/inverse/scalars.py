"""The scalar unknowns of a tumour: a scaled vector x of order one, and the inputs it stands for.

x = (ln D_w, ln(D_g / D_w), ln rho, seed / seed_scale of each focus, ln duration) and, where they are unknown, the
logarithm of the seeds' radius, the log-odds of the thresholds and the logarithm of the tracer's scale. `duration` is
the time from onset to the first session or treatment. The scaling makes the Gauss-Newton matrix well-conditioned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oncology.inverse.maps import Change, Inputs, MapSum, ParameterMap
from oncology.inverse.misfit import TRACER
from oncology.inverse.priors import GaussianPrior
from oncology.model.seed import Seed
from oncology.model.tumour import Tumour, TumourChange, seed_names

__all__ = ["ScalarMap"]

Vector = NDArray[np.float64]

_RATES = ("ln_diffusion_white", "ln_diffusion_ratio", "ln_proliferation")
# Largest sensible change of an unknown in one step of an optimiser; two prior deviations of the radius.
_TRUST = dict.fromkeys((*_RATES, "ln_duration"), 0.7) | {"ln_seed_radius": 0.3}
_TRUST_SEED = 2.0
_TRUST_LEVEL = 0.5


@dataclass(frozen=True, eq=False)
class ScalarMap:
    """Scaled scalars to a tumour (`oncology.inverse.maps.ParameterMap`).

    Attributes:
        first_day: end of the first interval of the time grid, day; the onset is `first_day - duration`.
        thresholds: names of the regions whose thresholds are unknown, such as ("whole", "core").
        tracer: whether tracer images are observed, whose scale is then unknown.
        seed_scale: unit of the seeds' coordinates in x, mm.
        radius: whether the radius of the seeds is unknown; otherwise it is that of `profile`.
        profile: density and radius of the seeds.
        foci: number of seeds.
        start: first guess, (n,).
        prior: prior of the unknowns.
    """

    first_day: float
    thresholds: tuple[str, ...] = ()
    tracer: bool = False
    seed_scale: float = 3.0
    radius: bool = True
    profile: Seed = field(default_factory=Seed)
    foci: int = 1
    start: Vector = field(default_factory=lambda: np.empty(0), repr=False)
    prior: GaussianPrior = field(default_factory=lambda: GaussianPrior(np.empty(0), np.empty(0)), repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of x."""
        levels = [f"threshold_{name}" for name in self.thresholds] + ["ln_tracer_scale"] * self.tracer
        return (*_RATES, *seed_names(self.foci), "ln_duration", *["ln_seed_radius"] * self.radius, *levels)

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return len(self.names)

    @property
    def trust(self) -> Vector:
        """Largest sensible change of each unknown in one step of an optimiser, (n,)."""
        seeds = dict.fromkeys(seed_names(self.foci), _TRUST_SEED)
        return np.array([(_TRUST | seeds).get(name, _TRUST_LEVEL) for name in self.names])

    def unit(self, name: str) -> Vector:
        """Return the unit vector (n,) of an unknown."""
        unit = np.zeros(self.size)
        unit[self.names.index(name)] = 1.0
        return unit

    def pack(self, tumour: Tumour, levels: Mapping[str, float] | None = None) -> Vector:
        """Return x for a tumour and levels of observations (threshold of each region, scale of the tracer)."""
        ratio = tumour.diffusion_grey / tumour.diffusion_white
        logs = np.log([tumour.diffusion_white, ratio, tumour.proliferation])
        levels = levels or {}
        odds = [np.log(levels[name] / (1.0 - levels[name])) for name in self.thresholds]
        scale = [np.log(levels.get(TRACER, 1.0))] * self.tracer
        seeds = tumour.seeds.ravel() / self.seed_scale
        radius = [np.log(tumour.seed_radius)] * self.radius
        return np.array([*logs, *seeds, np.log(self.first_day - tumour.onset), *radius, *odds, *scale])

    def tumour(self, x: Vector) -> Tumour:
        """Return the tumour that x stands for."""
        white, after = float(np.exp(x[0])), self._after_seeds
        seed, *others = (tuple(map(float, centre)) for centre in self.seed_scale * x[3:after].reshape(-1, 3))
        return Tumour(
            diffusion_white=white,
            diffusion_grey=white * float(np.exp(x[1])),
            proliferation=float(np.exp(x[2])),
            seed=seed,
            onset=self.first_day - float(np.exp(x[after])),
            profile=replace(self.profile, radius=float(np.exp(x[after + 1]))) if self.radius else self.profile,
            others=tuple(others),
        )

    def jacobian(self, x: Vector) -> Vector:
        """Return the derivative of `tumour(x).values` by x, (5 + 3 k, n) for k foci."""
        values, after = self.tumour(x).values, self._after_seeds
        slopes = np.zeros((len(values), self.size))
        slopes[0, 0], slopes[1, 0], slopes[1, 1], slopes[2, 2] = values[0], values[1], values[1], values[2]
        slopes[range(3, after), range(3, after)] = self.seed_scale
        slopes[after, after] = -np.exp(x[after])
        if self.radius:
            slopes[after + 1, after + 1] = values[after + 1]
        return slopes

    def apply(self, x: Vector, inputs: Inputs) -> Inputs:
        """Return the inputs with this tumour and the unknown levels."""
        regions = [*self.thresholds, *[TRACER] * self.tracer]
        levels = {region: self.level(x, region, 1.0)[0] for region in regions}
        return replace(inputs, tumour=self.tumour(x), levels={**inputs.levels, **levels})

    def tangent(self, x: Vector, dx: Vector) -> Change:
        """Return the change of the tumour and of the levels along dx."""
        d = self.jacobian(x) @ dx
        regions = [*self.thresholds, *[TRACER] * self.tracer]
        levels = {region: self.level(x, region, 1.0)[1] * float(dx[self._column(region)]) for region in regions}
        return Change(TumourChange.of(d), levels)

    def adjoint(self, x: Vector, derivative: Change) -> Vector:
        """Return the derivative by x."""
        result = self.jacobian(x).T @ derivative.tumour.values
        for region in [*self.thresholds, *[TRACER] * self.tracer]:
            result[self._column(region)] += self.level(x, region, 1.0)[1] * derivative.levels.get(region, 0.0)
        return np.asarray(result)

    def level_column(self, region: str) -> int | None:
        """Return the index in x of a region's threshold or of the tracer's scale, None where it is given."""
        name = "ln_tracer_scale" if region == TRACER else f"threshold_{region}"
        return self.names.index(name) if name in self.names else None

    def level(self, x: Vector, region: str, given: float) -> tuple[float, float]:
        """Return a region's threshold, or the tracer's scale, and its derivative by its entry of x."""
        column = self.level_column(region)
        if column is None:
            return given, 0.0
        if region == TRACER:
            scale = float(np.exp(x[column]))
            return scale, scale
        threshold = float(1.0 / (1.0 + np.exp(-x[column])))
        return threshold, threshold * (1.0 - threshold)

    @property
    def _after_seeds(self) -> int:
        """Index in x of the entry behind the seeds' coordinates."""
        return 3 + 3 * self.foci

    def _column(self, region: str) -> int:
        column = self.level_column(region)
        assert column is not None
        return column

    def __add__(self, other: ParameterMap) -> MapSum:
        """Return both maps as one."""
        return MapSum((self, other))
