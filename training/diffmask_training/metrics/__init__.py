"""Figures of predictions and of explanations: small pure functions on numpy arrays."""
