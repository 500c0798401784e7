"""Guards: the checks between a request and its image."""
