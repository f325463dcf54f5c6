"""Fit DiffMask probes on a frozen fine-tuned transformer and export them."""
