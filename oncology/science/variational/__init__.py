"""Variational problems as standalone NODEs: controls are weights in depth, flows descend an energy."""
