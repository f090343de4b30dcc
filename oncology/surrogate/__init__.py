"""Surrogates of the finite-element solver, learnt from its trajectories (B2.1, reduced form)."""
