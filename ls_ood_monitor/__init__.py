"""Camera out-of-distribution monitor for ROS 2. Importing this package imports nothing heavy."""

__version__ = "0.3.0"
