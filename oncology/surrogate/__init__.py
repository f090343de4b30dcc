"""Surrogates of the finite-element solver, learnt from its trajectories."""
