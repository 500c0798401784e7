"""A run on disk: checkpoints, records, locks, progress and interruption."""
