"""Inverse problems: parameters, misfits, priors and uncertainty; speaks to a forward map, never to an engine."""
