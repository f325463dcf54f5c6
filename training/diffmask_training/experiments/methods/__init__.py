"""Figure 13: methods side by side on the hidden states of a real classifier."""
