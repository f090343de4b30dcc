"""Neural ODEs as torch modules: `SNODE` classifies vectors, `CNODE` maps images to images of any size.

Weights are one parameter in depth each. Forward and backward are the runs of `standalone` and of
`convolution`, so that gradients are exact for the discrete network: both can stand anywhere in a larger one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from oncology.errors import ConfigError
from oncology.nodes.activation import Elementwise, activation_named
from oncology.nodes.autograd import Pullback, by_adjoint
from oncology.nodes.convolution.convolutional import ConvolutionalNODE
from oncology.nodes.convolution.kernel_basis import GaussianDerivatives
from oncology.nodes.convolution.pooling import PoolingFlow
from oncology.nodes.convolution.torus import Torus
from oncology.nodes.depth import DepthGrid, prolong
from oncology.nodes.scheme import scheme_named
from oncology.nodes.standalone import StandaloneNODE

__all__ = ["CNODE", "SNODE"]


def _activation(given: str | Elementwise) -> Elementwise:
    return activation_named(given) if isinstance(given, str) else given


class SNODE(nn.Module):
    """Standalone neural ODE: one equation `x' = sigma(W(t) x + b(t))`, 0 < t < T, is the whole network.

    Inputs are the last components of x(0), the others start at zero; outputs are the first components of x(T). No layer
    before or after is trained. Jaroudi et al., arXiv:2205.13933.

    Attributes:
        model: the network without weights.
        theta: weights, (layers, width + 1, width): at each depth `z = (x, 1) theta` of row vectors.

    Example:
        >>> import torch
        >>> net = SNODE(inputs=2, classes=2, width=4, depth=6.0, layers=30)
        >>> net(torch.zeros(5, 2)).shape
        torch.Size([5, 2])
    """

    model: StandaloneNODE
    theta: nn.Parameter

    def __init__(
        self,
        inputs: int,
        classes: int,
        width: int,
        depth: float,
        layers: int,
        *,
        activation: str | Elementwise = "tanh",
        scheme: str = "euler",
        scale: float | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the network with random weights that are smooth in depth.

        Args:
            inputs: number of features.
            classes: number of outputs.
            width: number of components of the state x, at least `inputs` and `classes`.
            depth: T, length of the depth interval.
            layers: cells of the depth grid: time steps of the scheme.
            activation: sigma, one of `oncology.nodes.activation.ACTIVATIONS` or its name.
            scheme: "euler", "heun", "midpoint" or "rk4"; certificates need "euler".
            scale: standard deviation of the first weights at whole depths; 1 / width if not given.
            generator: source of the first weights, on the CPU; torch's own if not given.
            device: of the weights.
            dtype: of the weights; torch's default if not given.

        Raises:
            ConfigError: a number is out of range, or a name unknown.
        """
        super().__init__()
        if min(inputs, classes) < 1 or width < max(inputs, classes):
            raise ConfigError(
                f"a state of {width} components for {inputs} inputs and {classes} classes; take width >= "
                f"{max(inputs, classes, 1)}"
            )
        self.model = StandaloneNODE(
            width,
            DepthGrid(depth, layers),
            tuple(range(width - inputs, width)),
            tuple(range(classes)),
            _activation(activation),
            scheme_named(scheme),
        )
        theta = self.model.initial(torch.default_generator if generator is None else generator, scale)
        self.theta = nn.Parameter(theta.to(device=device, dtype=dtype or torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., classes) of inputs (..., inputs): logits, if the network is trained as a classifier."""
        state = self.model.embed(x.reshape(-1, x.shape[-1]))
        outputs = self.model.read(by_adjoint(self._solve, state, self.theta))
        return outputs.reshape(*x.shape[:-1], outputs.shape[-1])

    def _solve(self, state: Tensor, theta: Tensor) -> tuple[Tensor, Pullback]:
        run = self.model.run(theta, state)

        def pull(covector: Tensor) -> tuple[Tensor, Tensor]:
            adjoint = run.adjoint(covector)
            return adjoint.input, adjoint.theta

        return run.final, pull

    def refine(self, factor: int = 2) -> None:
        """Cut every layer into `factor` thinner ones that compute the same function of depth.

        The parameter is a new one: make torch optimisers afterwards.
        """
        fine = self.model.grid.refined(factor)
        self.take(replace(self.model, grid=fine), prolong(self.theta.detach(), self.model.grid, fine))

    def take(self, model: StandaloneNODE, theta: Tensor) -> None:
        """Become the given network, with weights (nodes, width + 1, width)."""
        self.model = model
        if theta.shape == self.theta.shape:
            with torch.no_grad():
                self.theta.copy_(theta)
        else:
            self.theta = nn.Parameter(theta.to(self.theta))

    def extra_repr(self) -> str:
        """What the module is made of, for `print`."""
        model = self.model
        return (
            f"inputs={len(model.inputs)}, classes={len(model.outputs)}, width={model.size}, "
            f"depth={model.grid.length:g}, layers={model.grid.cells}, activation={model.activation.name}, "
            f"scheme={model.scheme.name}"
        )


class CNODE(nn.Module):
    """Convolutional neural ODE `u_t = sigma(K(t) u + b(t))`: images to images, as a layer of an ordinary network.

    Kernels are functions of space and depth, an image samples another function on the box: the same weights serve every
    number of pixels.

    Attributes:
        model: the network without weights; all its channels are inputs and outputs here.
        lengths: edge lengths of the box that an image shows.
        theta: weights, (layers, functions * channels + 1, channels).

    Example:
        >>> import torch
        >>> layer = CNODE(channels=3)
        >>> layer(torch.zeros(2, 3, 16, 20)).shape
        torch.Size([2, 3, 16, 20])
    """

    model: ConvolutionalNODE
    lengths: tuple[float, ...]
    theta: nn.Parameter

    def __init__(
        self,
        channels: int,
        depth: float = 1.0,
        layers: int = 4,
        *,
        scales: tuple[float, ...] = (0.08, 0.16),
        order: int = 2,
        lengths: tuple[float, ...] = (1.0, 1.0),
        activation: str | Elementwise = "tanh",
        scheme: str = "euler",
        pooling: Mapping[int, PoolingFlow] | None = None,
        scale: float | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the layer with random weights that are smooth in depth.

        Args:
            channels: of the images.
            depth: T, length of the depth interval.
            layers: cells of the depth grid: time steps of the scheme.
            scales: standard deviations of the Gaussians whose derivatives span the kernels, in the unit of `lengths`.
            order: highest order of these derivatives.
            lengths: edge lengths of the box that an image shows; their number is that of the axes of pixels.
            activation: sigma, one of `oncology.nodes.activation.ACTIVATIONS` or its name.
            scheme: "euler", "heun", "midpoint" or "rk4".
            pooling: flows of `oncology.nodes.convolution.pooling` by the number of the layer that they follow.
            scale: standard deviation of the first weights; 1 / (functions * channels) if not given.
            generator: source of the first weights, on the CPU; torch's own if not given.
            device: of the weights.
            dtype: of the weights; torch's default if not given.

        Raises:
            ConfigError: a number is out of range, or a name unknown.
        """
        super().__init__()
        every = tuple(range(channels))
        self.model = ConvolutionalNODE(
            channels,
            DepthGrid(depth, layers),
            GaussianDerivatives(scales, order, len(lengths)),
            every,
            every,
            _activation(activation),
            scheme_named(scheme),
            pooling or {},
        )
        self.lengths = lengths
        theta = self.model.initial(torch.default_generator if generator is None else generator, scale)
        self.theta = nn.Parameter(theta.to(device=device, dtype=dtype or torch.get_default_dtype()))

    @classmethod
    def of(cls, model: ConvolutionalNODE, theta: Tensor, lengths: tuple[float, ...]) -> CNODE:
        """The layer of a network that exists; its weights are copied."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.model, layer.lengths = model, lengths
        layer.theta = nn.Parameter(theta.detach().clone())
        return layer

    def forward(self, images: Tensor) -> Tensor:
        """Images (K, channels, *pixels) at depth T of those at depth 0."""
        if images.ndim != 2 + len(self.lengths) or images.shape[1] != self.model.channels:
            expected = f"(number, {self.model.channels}, {len(self.lengths)} axes of pixels)"
            raise ConfigError(f"images of shape {tuple(images.shape)}; need {expected}")
        result: Tensor = by_adjoint(self._solve, images, self.theta)
        return result

    def _solve(self, images: Tensor, theta: Tensor) -> tuple[Tensor, Pullback]:
        run = self.model.run(theta, images, Torus(tuple(images.shape[2:]), self.lengths))

        def pull(covector: Tensor) -> tuple[Tensor, Tensor]:
            adjoint = run.adjoint(covector)
            return adjoint.input, adjoint.theta

        return run.final, pull

    def extra_repr(self) -> str:
        """What the module is made of, for `print`."""
        grid = self.model.grid
        return (
            f"channels={self.model.channels}, depth={grid.length:g}, layers={grid.cells}, "
            f"functions={self.model.basis.number}, lengths={self.lengths}, activation={self.model.activation.name}"
        )
