"""What there is to tell of a site, for whoever tells it: the command line, the console and the metrics."""
