"""Tumour growth on a voxel grid in torch: stencils, time stepping with exact tangent and adjoint, and whole fits."""
