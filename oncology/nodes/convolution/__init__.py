"""Convolutional NODEs, continuous in depth and space: kernels are functions, an image samples another."""
