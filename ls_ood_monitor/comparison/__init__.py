"""Detectors x shifts x severities: calibrated on some drives, tested on others, with intervals by drive."""
