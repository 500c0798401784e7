"""Metrics: what an audit measures on pictures besides the rate of the concept. Each file registers one."""
