"""Where Schedules and Runs are kept: the only truth shared between processes."""
