"""A recording judged as the vehicle would have judged it: replay, figures, gate, report."""
