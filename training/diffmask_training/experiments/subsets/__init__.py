"""Table 2: masks for single texts beside the smallest subsets there are."""
