"""Traffic that shifts or does not, as drift and its alert see it."""
