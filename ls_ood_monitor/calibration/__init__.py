"""Calibration: clean drives in, fitted detectors with thresholds and their provenance out."""
