"""Sampling: prompts and seeds to images."""
