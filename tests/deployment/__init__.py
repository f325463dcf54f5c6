"""What needs a package index: run by `make deployment`, not by `make unit`."""
