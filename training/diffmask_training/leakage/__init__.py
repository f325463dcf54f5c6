"""Whether masks tell the label by what they keep rather than by what that says.

A probe reads states that already know the prediction. It can learn to answer with the
shape of its mask, or with a baseline that the model takes for a word of one label, and
such masks keep predictions without explaining them.
"""
