"""The wire format: generated messages, and their conversion to and from core values."""
