"""The networks that the monitor can run: our own DeepLabv3+, and a network that a vehicle already runs."""
