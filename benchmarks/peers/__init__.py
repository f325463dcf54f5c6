"""Other servers for the same graph; these modules run in an environment of theirs."""
