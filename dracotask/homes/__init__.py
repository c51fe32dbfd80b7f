"""Homes: where the schedules of a Scheduler live, and who executes their Runs."""
