"""Solvers: one module each, which registers itself in `SOLVERS`."""
