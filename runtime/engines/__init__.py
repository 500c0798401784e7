"""Engines: the components of a model, ready to run, and the backends that load them."""
