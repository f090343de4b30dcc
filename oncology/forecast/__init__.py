"""A fitted tumour on later days: runs, ensembles, curves, targets."""
