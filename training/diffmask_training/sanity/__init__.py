"""Two tests of explanations against what is known beforehand.

An explanation of a model that was spoilt must change, and a shortcut that was planted
in the training texts must be found. Both fit probes anew, so they take as long as that.
"""
