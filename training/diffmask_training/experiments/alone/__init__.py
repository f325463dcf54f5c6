"""Figure 12: hidden gates of a probe, and of one text alone with two baselines."""
