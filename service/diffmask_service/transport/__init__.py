"""The edges: gRPC for callers, HTTP for metrics."""
