"""Engines: the components of a model, ready to run."""
