"""Table 1 and figures 3 and 11: a counting task whose explanation is known."""
