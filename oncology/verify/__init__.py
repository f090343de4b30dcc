"""Exact solutions, orders of convergence and derivative tests of the engines."""
