"""Calibration: fits detectors to clean drives and sets thresholds with their provenance."""
