"""Voxel engines for the levels of a fit: which device, which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from oncology.errors import ConfigError
from oncology.imaging.case import Case
from oncology.meshing.engines import MeshedEngine
from oncology.model.growth import GrowthLaw
from oncology.voxel.engine import Voxels

__all__ = ["VoxelEngines"]


@dataclass(frozen=True)
class VoxelEngines:
    """Voxel engines for the levels of a case (`oncology.meshing.engines.Engines`).

    Attributes:
        device: "cpu" or "cuda".
        precision: "single" or "double".
        fused: apply the stencil in one compiled pass.
    """

    device: str = "cpu"
    precision: str = "double"
    fused: bool = False

    @classmethod
    def choose(cls, device: str | None = None, precision: str | None = None) -> VoxelEngines:
        """Return the engine on a GPU if there is one, in single precision there and in double precision on a CPU.

        Raises:
            ConfigError: a GPU is asked for and there is none.
        """
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"--device cuda: torch {torch.__version__} finds no GPU here: give --device cpu")
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # on a CPU compiling takes longer than a fit
        return cls(device, precision or ("single" if device == "cuda" else "double"), fused=device == "cuda")

    def make(self, case: Case, law: GrowthLaw, size: float, margin: float, fine: bool) -> MeshedEngine:
        """Return an engine for a case; coarse and fine ones differ in size and margin only."""
        dtype = {"single": torch.float32, "double": torch.float64}[self.precision]
        return MeshedEngine(Voxels(case, size, law, margin, dtype, self.device, self.fused), margin)

    @property
    def options(self) -> dict[str, object]:
        """What was chosen, as plain values."""
        return {
            "engine": "voxel",
            "device": self.device,
            "precision": self.precision,
            "fused": self.fused,
        }

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        found = {"torch": torch.__version__}
        return found | ({"gpu": torch.cuda.get_device_name()} if self.device.startswith("cuda") else {})
