"""Families of models: what atelier and Stable Diffusion differ in, one object each."""
