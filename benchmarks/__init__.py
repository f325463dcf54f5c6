"""Scripts that print figures of a running server, of its engine and of training.

`python -m benchmarks.NAME --help`, from the root of the checkout.
"""
