"""The published and analytic experiments of the neural half, as functions that return tables."""
