"""Standalone neural ODEs (torch): one differential equation with depth-varying weights is the whole network (B1)."""
