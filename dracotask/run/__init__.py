"""One run: its supervisor and its body."""
