"""Detectors: whether a picture shows a concept. Each file registers one."""
