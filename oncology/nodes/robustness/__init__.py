"""Sensitivity, certificates and attacks of standalone neural ODEs."""
