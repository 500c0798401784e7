"""Metrics: what a set of pictures is measured by, one file each."""
