"""Whether explanations tell what the model goes by: figures with intervals, controls.

Every figure of section names in the literature is a pure function in `metrics`; here
they are run on a model, for each way of removing tokens, beside random orders or random
masks of the same size, and summarised over texts.
"""
