"""Section 3.2 and figures 4 to 6: a fine-tuned sentiment classifier and its probes."""
