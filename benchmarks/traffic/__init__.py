"""Traffic for a server: what is sent when, how it ends, how the ends add up."""
