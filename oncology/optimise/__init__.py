"""Optimisation in Hilbert spaces: conjugate gradients, Landweber and Gauss-Newton in a chosen inner product.

`minimise` descends in fields and network weights, `gauss_newton` fits a few scalars, `taylor_test` and `dot_test`
check the derivatives that both need. The package knows no engine. Vectors are anything with `+`, `-` and `float *`.
"""

from oncology.optimise.blocks import Blocks, product
from oncology.optimise.bounds import Box
from oncology.optimise.directions import (
    ConjugateGradient,
    dai_yuan,
    fletcher_reeves,
    fr_pr,
    hager_zhang,
    hestenes_stiefel,
    polak_ribiere_plus,
    zero,
)
from oncology.optimise.gauss_newton import (
    GaussNewtonResult,
    GaussNewtonState,
    LeastSquares,
    LevenbergMarquardt,
    gauss_newton,
)
from oncology.optimise.minimise import minimise
from oncology.optimise.problem import Counts, Evaluation, FunctionProblem, Problem, Tangent, Vector
from oncology.optimise.quadratic import Linearisation
from oncology.optimise.spaces import Space, euclidean, h1_by_solve, h1_in_time, weighted_l2
from oncology.optimise.state import Record, Result, State, Status, Stop
from oncology.optimise.steps import (
    Armijo,
    Fixed,
    newton_step,
    power_iteration,
    root_step,
    scaled_previous,
    sensitivity_step,
)
from oncology.optimise.taylor import DotResult, TaylorResult, dot_test, taylor_test
from oncology.optimise.wolfe import StrongWolfe

__all__ = [
    "Armijo",
    "Blocks",
    "Box",
    "ConjugateGradient",
    "Counts",
    "DotResult",
    "Evaluation",
    "Fixed",
    "FunctionProblem",
    "GaussNewtonResult",
    "GaussNewtonState",
    "LeastSquares",
    "LevenbergMarquardt",
    "Linearisation",
    "Problem",
    "Record",
    "Result",
    "Space",
    "State",
    "Status",
    "Stop",
    "StrongWolfe",
    "Tangent",
    "TaylorResult",
    "Vector",
    "dai_yuan",
    "dot_test",
    "euclidean",
    "fletcher_reeves",
    "fr_pr",
    "gauss_newton",
    "h1_by_solve",
    "h1_in_time",
    "hager_zhang",
    "hestenes_stiefel",
    "minimise",
    "newton_step",
    "polak_ribiere_plus",
    "power_iteration",
    "product",
    "root_step",
    "scaled_previous",
    "sensitivity_step",
    "taylor_test",
    "weighted_l2",
    "zero",
]
