"""Training data: pictures and captions become latents and text states, in memory or in files."""
