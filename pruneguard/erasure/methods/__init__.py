"""Erasers, one file each."""
