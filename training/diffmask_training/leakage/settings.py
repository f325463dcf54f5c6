"""Thresholds of the tests."""

from dataclasses import dataclass, field

from diffmask_training.leakage.evaluator import EvaluatorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageSettings:
    """Thresholds, and how the evaluators are fitted.

    Attributes:
        max_pattern_gain: Largest accuracy over the majority's of telling the label from
            a mask's pattern, in [0, 1].
        max_gap: Largest agreement of the model on masked texts over that of an
            evaluator, in [0, 1].
        max_encoding: Largest encode-meter, nats.
        max_baseline_confidence: Largest mean probability of any one label when all is
            masked, in [0, 1].
        evaluator: How evaluators are fine-tuned.
        seed: Of folds and resamples.
    """

    max_pattern_gain: float = 0.1
    max_gap: float = 0.1
    max_encoding: float = 0.1
    max_baseline_confidence: float = 0.9
    evaluator: EvaluatorSettings = field(default_factory=EvaluatorSettings)
    seed: int = 0
