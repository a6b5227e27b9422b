"""A recording judged as the vehicle would have judged it: replay, metrics, acceptance and report."""
