"""Arithmetic on arrays and small state machines: no torch, no ROS, no clock, no files."""
