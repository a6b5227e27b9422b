"""Loops over data: recordings, the procedural street, training, calibration. Prints nothing."""
