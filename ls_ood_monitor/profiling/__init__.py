"""Measures what a monitored frame costs, on networks with random weights."""
