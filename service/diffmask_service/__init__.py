"""Prediction and explanation of a transformer from one forward pass, over gRPC."""

__version__ = "0.1.0"
