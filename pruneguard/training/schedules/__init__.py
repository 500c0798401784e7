"""Schedules: how the two levels are combined, one file each."""
