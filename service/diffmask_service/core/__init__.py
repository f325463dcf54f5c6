"""Arithmetic and value types: no files, sockets, clocks, logging or metrics."""
