"""Detectors: whether a picture shows a concept, one file each."""
