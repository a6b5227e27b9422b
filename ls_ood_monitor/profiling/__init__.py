"""What a monitored frame costs: ratios of work measured in turns, in one run on one machine."""
