"""Evaluation: audits, detectors, metrics, latency, picture grids and reports."""
