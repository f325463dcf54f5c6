"""Figures of predictions and of explanations: small pure functions on numpy arrays.

A model is only ever a callable from kept tokens to probabilities. Two rules hold, but
where a docstring names the convention of a benchmark. Input that makes no sense (no
tokens, no texts, numbers that are not finite, shapes that do not match) raises
`MetricError`. A quantity that sound input leaves undefined (a correlation of constants,
a share of nothing) is `None`, so that it cannot pass for a number; `intervals.estimate`
leaves it out of the mean and counts it.

Two modules have no caller in this package: `plausibility`, for those who have texts
that people marked, and `sensitivity`, for those who can say what a small change of a
text is. Neither comes with a classifier and its probes, so no command can ask for them.
"""
