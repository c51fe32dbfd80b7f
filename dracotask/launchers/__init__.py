"""Ways to take queued Runs to where they execute."""
