"""Records a clip around every alarm on the vehicle's own disk: what the cameras sent, and how the monitor judged it."""
