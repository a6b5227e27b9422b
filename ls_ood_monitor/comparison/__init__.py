"""Compares detectors over shifts and severities: calibrated on some drives, tested on others, with intervals by drive."""
