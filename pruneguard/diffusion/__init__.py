"""The diffusion process: noise, signal-to-noise ratios, training targets, and repeatable random numbers."""
