"""Settings of the fit of a probe."""

from dataclasses import dataclass
from pathlib import Path

from diffmask_training.config.checks import refuse
from diffmask_training.config.settings import DataConfig, Precision
from diffmask_training.lagrangian import NuPI
from diffmask_training.masking import Relaxation
from diffmask_training.objective import LOWEST_AIM, Constraint, ConstraintKind
from diffmask_training.probes import ProbeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig(DataConfig):
    """Fit the probe of one kind on a frozen fine-tuned classifier.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier and its tokenizer.
        probes: Directory that probes, logs and checkpoints are written to, a folder a
            kind.
        kind: What is masked: input tokens or hidden states.
        margin: Allowed divergence of a masked prediction, nats. Larger masks more.
        aim: Share of the limit that training aims at in the first epoch, in [0.1, 1].
            After each epoch every state's aim is set so that its hard masks on the
            validation texts should meet the limit.
        constraint: `mean` bounds the batch mean of the divergence by the margin,
            `hinge` the mean excess of single texts over the margin by the slack.
        slack: Allowed mean excess under `hinge`, nats.
        tolerance: A probe counts as feasible while no state's validation divergence is
            over the limit by more than this share of it. In the end, a hidden probe's
            states that are get opened until they are not, and an input probe that is
            feasible gets closed until one is just not.
        relaxation: Gates while training: `soft` samples, `deterministic` hard masks, or
            `mixed`, either for half of the texts.
        epochs: Passes over the training texts.
        batch_size: Texts a step.
        states_per_text: States that each text is masked at, at each step.
        learning_rate: Of the probe's networks; falls linearly to a twentieth.
        baseline_learning_rate: Of the baselines; falls likewise.
        initial_bias: Gate logit at the start; lower starts sparser.
        bottleneck_size: Width inside a probe's network; 0 for a quarter of a state.
        energy_weight: Weight of the mean square of the networks' scores, which keeps
            gates from freezing wide open or shut.
        integral: Weight of the violation in the multiplier's step.
        proportional: Weight of the change of the violation's running mean.
        smoothing: Share of that running mean kept at a step.
        initial_multiplier: First value of every multiplier; under the smallest, its
            first step lifts it to that.
        min_multiplier: Smallest value of a multiplier, shares of the tokens per nat.
            Over 0, a gate closes only where that saves more, even within the margin.
        max_multiplier: Largest value of a multiplier.
        validation_texts: Validation texts used after each epoch; 0 for all.
        precision: Arithmetic of the model's matrix products while fitting; validation
            is always in float32.
        seed: Seed of initialisation, order and sampling.
        resume: Go on from the last epoch's checkpoint, if there is one.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    kind: ProbeKind = "input"
    margin: float = 0.1
    aim: float = 0.7
    constraint: ConstraintKind = "mean"
    slack: float = 0.02
    tolerance: float = 0.25
    relaxation: Relaxation = "mixed"
    epochs: int = 5
    batch_size: int = 16
    states_per_text: int = 4
    learning_rate: float = 2e-4
    baseline_learning_rate: float = 1e-3
    initial_bias: float = 3.0
    bottleneck_size: int = 0
    energy_weight: float = 0.02
    integral: float = 0.3
    proportional: float = 5.0
    smoothing: float = 0.9
    initial_multiplier: float = 15.0
    min_multiplier: float = 0.0
    max_multiplier: float = 200.0
    validation_texts: int = 600
    precision: Precision = "fp32"
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all at once."""
        least, most = self.min_multiplier, self.max_multiplier
        refuse(
            self,
            ("margin", "over 0", self.margin > 0),
            ("aim", "in [0.1, 1]", LOWEST_AIM <= self.aim <= 1),
            ("epochs", "at least 1", self.epochs >= 1),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("states_per_text", "at least 1", self.states_per_text >= 1),
            ("learning_rate", "over 0", self.learning_rate > 0),
            ("smoothing", "in [0, 1)", 0 <= self.smoothing < 1),
            ("min_multiplier", f"from 0 to {most}, the largest", 0 <= least <= most),
            ("max_train_tokens", "at least 3", self.max_train_tokens >= 3),
        )

    def limit(self) -> Constraint:
        """Return the constraint as the objective takes it."""
        return Constraint(kind=self.constraint, margin=self.margin, slack=self.slack)

    def controller(self) -> NuPI:
        """Return the multipliers' controller."""
        return NuPI(
            integral=self.integral,
            proportional=self.proportional,
            smoothing=self.smoothing,
            initial=self.initial_multiplier,
            lower=self.min_multiplier,
            upper=self.max_multiplier,
        )
