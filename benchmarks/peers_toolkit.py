"""Growth of a tumour by TumorGrowthToolkit, for a Python that has that package and not ours.

    PYTHON benchmarks/peers_toolkit.py GIVEN.npz GROWN.npz

GIVEN.npz holds `white` and `grey` (probabilities on voxels of `spacing` mm), the `seed` as voxel indices, the rates
`diffusion_white`, `diffusion_grey` and `proliferation` (mm^2/day, 1/day), and `days` since onset. GROWN.npz gets the
`density` on each of them, and the processor `seconds` of each run. The toolkit takes the rest of its settings from
itself.
"""

import sys
import time

import numpy as np
from TumorGrowthToolkit.FK import Solver


def main(given_path: str, grown_path: str) -> None:
    given = np.load(given_path)
    spacing = float(given["spacing"])
    place = (given["seed"] + 0.5) / given["white"].shape  # the toolkit takes fractions and rounds down
    settings = {
        "wm": given["white"].astype(float),
        "gm": given["grey"].astype(float),
        "Dw": float(given["diffusion_white"]),
        "RatioDw_Dg": float(given["diffusion_white"] / given["diffusion_grey"]),
        "rho": float(given["proliferation"]),
        **dict(zip(("NxT1_pct", "NyT1_pct", "NzT1_pct"), map(float, place), strict=True)),
        **dict.fromkeys(("dx_mm", "dy_mm", "dz_mm"), spacing),
        "resolution_factor": 1.0,
    }
    densities, seconds = [], []
    for day in given["days"]:
        start = time.process_time()
        found = Solver({**settings, "stopping_time": float(day)}).solve()
        if not found["success"]:
            sys.exit(f"TumorGrowthToolkit: {found['error']}")
        densities.append(found["final_state"].astype(np.float32))
        seconds.append(time.process_time() - start)
    np.savez_compressed(grown_path, density=np.array(densities), seconds=seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
