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
# # Two routes to a mesh
#
# *Stuffing* cuts a lattice at the surface of the brain: smooth, of the image's volume, with good angles. *Lattice*
# takes whole boxes: its surface is a staircase, but no angle is obtuse. How much does the choice change the prediction?
#
# A mesh has three duties here. It must hold as much white and grey matter as the images do, or the tumour fills a brain
# that is not the patient's. It must keep sulci and ventricles open where they are wider than a cell, because cells
# cross tissue and not fluid. And its cells must not be flat: the error of linear elements grows with the reciprocal of
# the sine of the largest angle, and one sliver can cost the iterative solver more than a thousand good cells.
#
# Images know no surfaces. A voxel is 40 % grey matter and 60 % fluid, and the surface is where the sum of both tissue
# maps crosses one half, after a little smoothing that keeps the volume. A mesh generator that first makes a
# triangulated surface has to repair that surface; both routes here start from the volume instead and cannot leave a
# hole.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PolyCollection

import oncology as onc
from oncology.meshing import build_mesh
from oncology.meshing.dihedral import dihedral_range
from oncology.model.fractions import volume_fraction

plt.rcParams["figure.dpi"] = 120
SIZE = 5.0  # mm
COLOURS = {"stuffing": "#0072B2", "lattice": "#D55E00"}
case = onc.read_case("../data/sub-example01")
built = {route: build_mesh(case.white, case.grey, SIZE, route) for route in COLOURS}
print(f"{'':10}{'cells':>8}{'white, ml':>11}{'grey, ml':>10}{'total error':>13}{'worst angles, degrees':>24}")
for route, (_, report) in built.items():
    white = 1e-3 * report.white_volume * (1.0 + report.white_volume_error)
    grey = 1e-3 * report.grey_volume * (1.0 + report.grey_volume_error)
    angles = f"{report.smallest_angle:.1f} to {report.largest_angle:.1f}"
    print(f"{route:10}{report.cells:8}{white:11.1f}{grey:10.1f}{report.volume_error:13.2%}{angles:>24}")
report = built["stuffing"][1]
print(f"{'image':18}{1e-3 * report.white_volume:11.1f}{1e-3 * report.grey_volume:10.1f}")

# %% [markdown]
# ## Angles, and a cut
#
# The cut shows the cells that an axial plane through the tumour meets, coloured by their fraction of white matter. Each
# cell knows fractions, not one label: a cell that is half white and half grey matter lets cells spread at a speed
# between the two. On the left are the smallest and the largest dihedral angles. Non-obtuse angles buy a theorem: with
# lumped mass and backward Euler steps no density leaves the range of its neighbours. The smooth mesh gives that up, and
# gets a surface on which a front runs at the right speed along a sulcus.


# %%
def cut(mesh, height):
    """Return the polygons in which the plane z = height meets cells, and the numbers of these cells."""
    above = mesh.points[mesh.cells, 2] > height
    met = np.flatnonzero(above.any(axis=1) & ~above.all(axis=1))
    polygons = []
    for corners, up in zip(mesh.points[mesh.cells[met]], above[met], strict=True):
        ends = np.array([p + (height - p[2]) / (q[2] - p[2]) * (q - p) for p in corners[up] for q in corners[~up]])
        around = np.arctan2(*(ends - ends.mean(axis=0))[:, :2].T)
        polygons.append(ends[np.argsort(around), :2])
    return polygons, met


figure, panels = plt.subplots(1, 3, figsize=(11.0, 3.4), layout="constrained", width_ratios=(1.0, 1.1, 1.1))
height = case.sessions[-1].whole.world(np.argwhere(case.sessions[-1].whole.data)).mean(axis=0)[2]
for panel, (route, (mesh, _)) in zip(panels[1:], built.items(), strict=True):
    smallest, largest = dihedral_range(mesh.points, mesh.cells)
    for angles, style in ((smallest, "-"), (largest, "--")):
        bins = np.arange(0.0, 181.0, 3.0)
        panels[0].hist(angles, bins, density=True, histtype="step", color=COLOURS[route], ls=style)
    polygons, met = cut(mesh, height)
    shown = PolyCollection(polygons, array=mesh.white[met], clim=(0, 1), cmap="viridis", edgecolors="white", lw=0.2)
    panel.add_collection(shown)
    panel.set(title=route, aspect="equal", xlabel="x, mm")
    panel.autoscale_view()
panels[0].set(title="smallest (line) and largest (dashes)", xlabel="dihedral angle of a cell, degrees", yscale="log")
panels[1].set_ylabel("y, mm")
figure.colorbar(shown, ax=panels[1:], label="fraction of white matter")
plt.show()

# %% [markdown]
# ## The same tumour on both
#
# The true parameters of the example patient, on meshes of the neighbourhood of the tumour. The two meshes share no
# vertex, so what they agree on is the equation's and not the mesh's; what they differ by is a fair estimate of the
# error of either. It is far below the volume that a rater changes by drawing one more voxel around the tumour.

# %%
truth = json.loads((case.root / "truth.json").read_text())
rates = {name: truth[name] for name in ("diffusion_white", "diffusion_grey", "proliferation")}
tumour = onc.Tumour(**rates, seed=tuple(truth["seed_mm"]), onset=-260.0)
thresholds = (case.thresholds.oedema, case.thresholds.core)
volumes = {}
for route in built:
    engine = onc.FiniteElements(onc.mesh(case, SIZE, route=route), case, law=onc.Logistic())
    space, run = engine.space, engine.run(tumour, engine.plan(tumour, case.days))
    corners = [space.to_cells(density) for density in run.densities]
    volumes[route] = 1e-3 * np.array([[space.volumes @ volume_fraction(u, t)[0] for t in thresholds] for u in corners])
    for session, (whole, core) in zip(case.sessions, volumes[route], strict=True):
        print(f"{route:10}day {session.day:3g}: whole tumour {whole:6.2f} ml, core {core:6.2f} ml")
differences = volumes["lattice"] / volumes["stuffing"] - 1.0
print("lattice over stuffing:", ", ".join(f"{value:+.1%}" for value in differences.ravel()))

# %% [markdown]
# ## The main numbers

# %%
for _, report in built.values():
    assert abs(report.volume_error) < 0.05 and report.components == 1
assert built["stuffing"][1].smallest_angle > 10.0
assert built["lattice"][1].largest_angle < 90.0 + 1e-6
assert np.abs(differences).max() < 0.05
