"""Hostile input, drawn from a seed: messages, texts and HTTP/2 frames."""
