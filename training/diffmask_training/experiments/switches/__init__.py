"""What each choice in the making of a probe changes, one at a time."""
