"""A clip of every alarm on the vehicle's own disk: what the cameras showed, and what the monitor said to it."""
