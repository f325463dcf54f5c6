"""Settings of the fit of a probe, in groups; all of them are flags of one command.

The groups are bases of `FitConfig`, so that settings stay one flat list of names in
flags, recipes and records. They have no slots: a class can take them from one base
only.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from diffmask_training.config.checks import refuse
from diffmask_training.config.presets import PresetName
from diffmask_training.config.settings import DataConfig, PrecisionChoice
from diffmask_training.lagrangian import Ascent, DualKind, NuPI, RMSprop
from diffmask_training.masking import Relaxation
from diffmask_training.objective import (
    LOWEST_AIM,
    Constraint,
    ConstraintKind,
    SparsityKind,
)
from diffmask_training.pacing import Dealing
from diffmask_training.primal import OptimizerKind, PrimalSettings
from diffmask_training.probes import ProbeKind


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is minimised, and within which bounds.

    Attributes:
        margin: Allowed divergence of a masked prediction, nats; larger masks more. 0
            for a share of the model's own mean output entropy on the validation texts.
        margin_share: That share. At 1.1 the margin is 0.12 nats for a classifier of
            movie reviews that is 90 % right (its entropy is 0.11 nats), about what was
            found by hand for it.
        constraint: `mean` bounds the batch mean of the divergence by the margin,
            `hinge` the mean excess of single texts over the margin by the slack,
            `quantile` the divergence of all but a few texts by the margin.
        slack: Allowed mean excess under `hinge`, nats.
        quantile: Share of the texts held to the margin under `quantile`.
        tolerance: A probe counts as feasible while no state's validation divergence is
            over the limit by more than this share of it. In the end, a hidden probe's
            states that are get opened until they are not, and those that the
            constraint held open for nothing closed; an input probe that is feasible
            gets closed until one state is just not.
        aim: Share of the limit that training aims at in the first epoch, in [0.1, 1].
        pacing: After each epoch, set every state's aim so that its hard masks on the
            validation texts should meet the limit, and deal fewer texts to states that
            have settled.
        sparsity: `linear` minimises the expected share of open gates, `logarithmic`
            the mean logarithm of the keep probability, as the code of the paper does.
        energy_weight: Weight of the mean square of the networks' scores, which keeps
            gates from freezing wide open or shut.
        complement_weight: Weight of the complement: what was removed must not suffice
            alone. Over 0 it costs one more masked run a step.
        complement_margin: Divergence that a prediction from the removed part alone
            should reach, nats.
    """

    margin: float = 0.0
    margin_share: float = 1.1
    constraint: ConstraintKind = "mean"
    slack: float = 0.02
    quantile: float = 0.9
    tolerance: float = 0.25
    aim: float = 0.7
    pacing: bool = True
    sparsity: SparsityKind = "linear"
    energy_weight: float = 0.02
    complement_weight: float = 0.0
    complement_margin: float = 0.5

    def limit(self) -> Constraint:
        """Return the constraint as the objective takes it."""
        return Constraint(
            kind=self.constraint,
            margin=self.margin,
            slack=self.slack,
            quantile=self.quantile,
        )


@dataclass(frozen=True, kw_only=True)
class MultiplierConfig:
    """How the states' multipliers move.

    Attributes:
        dual: `nupi` answers to the violation and to its change; `ascent` to the
            violation alone; `rmsprop` to hardly more than its sign.
        integral: Weight of the violation in the multiplier's step; the learning rate of
            `ascent` and `rmsprop`.
        proportional: Weight of the change of the violation's running mean, for `nupi`.
        smoothing: Share of that running mean, or for `rmsprop` of the mean square, that
            is kept at a step.
        restarts: Under `ascent`, let a multiplier fall to its smallest value once its
            constraint is met.
        initial_multiplier: First value of every multiplier; under the smallest, its
            first step lifts it to that.
        min_multiplier: Smallest value of a multiplier, shares of the tokens per nat.
            Over 0, a gate closes only where that saves more, even within the margin.
        max_multiplier: Largest value of a multiplier.
    """

    dual: DualKind = "nupi"
    integral: float = 0.3
    proportional: float = 5.0
    smoothing: float = 0.9
    restarts: bool = True
    initial_multiplier: float = 15.0
    min_multiplier: float = 0.0
    max_multiplier: float = 200.0

    def controller(self) -> NuPI | Ascent | RMSprop:
        """Return what moves the multipliers."""
        bounds = {
            "initial": self.initial_multiplier,
            "lower": self.min_multiplier,
            "upper": self.max_multiplier,
        }
        if self.dual == "ascent":
            return Ascent(rate=self.integral, restarts=self.restarts, **bounds)
        if self.dual == "rmsprop":
            return RMSprop(rate=self.integral, smoothing=self.smoothing, **bounds)
        return NuPI(
            integral=self.integral,
            proportional=self.proportional,
            smoothing=self.smoothing,
            **bounds,
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How the probe descends.

    Attributes:
        optimizer: `adamw`, or `rmsprop` (centred).
        learning_rate: Of the probe's networks; falls linearly from here.
        baseline_learning_rate: Of the baselines; falls likewise. 0 keeps them as they
            start, which says nothing: a learned one can say a label, and masks that
            remove everything then keep predictions of that label.
        final_rate: Share of the learning rates that is left at the end; 1 for constant.
        warmup_steps: Steps over which the learning rates rise from 0.
        lookahead: Steps after which probe and multipliers go half of the way back to
            where they were at the last such step; 0 for never.
        max_gradient_norm: The gradient of each network of a state is scaled down to
            this; 0 for never.
    """

    optimizer: OptimizerKind = "adamw"
    learning_rate: float = 2e-4
    baseline_learning_rate: float = 1e-3
    final_rate: float = 0.05
    warmup_steps: int = 0
    lookahead: int = 0
    max_gradient_norm: float = 1.0

    def descent(self, total_steps: int) -> PrimalSettings:
        """Return the settings of the probe's steps."""
        return PrimalSettings(
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            baseline_learning_rate=self.baseline_learning_rate,
            warmup_steps=self.warmup_steps,
            final_rate=self.final_rate,
            lookahead=self.lookahead,
            max_gradient_norm=self.max_gradient_norm,
            total_steps=total_steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig(DataConfig, ObjectiveConfig, MultiplierConfig, OptimizerConfig):
    """Fit the probe of one kind on a frozen fine-tuned classifier.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier and its tokenizer.
        probes: Directory that probes, logs and checkpoints are written to, a folder a
            kind.
        kind: What is masked: input tokens or hidden states.
        preset: A table of settings that recipes and flags override.
        relaxation: Gates while training: `soft` samples, `deterministic` hard masks
            with the gradient of the keep probability (straight-through), or `mixed`,
            either for half of the texts.
        epochs: Stretches of training, each with a validation behind it.
        epoch_steps: Steps of each, whatever the number of texts: few are passed over
            several times, of many a part is drawn. A sound probe that such a stretch no
            longer moves is left at that. 0 for one pass over all texts, and no such
            end.
        patience: Stop once so many epochs in a row have brought none that is better; 0
            for never.
        batch_size: Texts a step.
        accumulation: Run a step's texts in so many parts, one after another: less
            memory, and the same gradients, but for a quantile, which is then of each
            part.
        dealing: `spread` masks every text of a step at a few states, `single` all of
            them at one random state.
        states_per_text: States that each text is masked at, at each step, under
            `spread`.
        initial_bias: Gate logit at the start; lower starts sparser.
        bottleneck_size: Width inside a probe's network; 0 for a quarter of a state.
        calibrate: Shift the biases in the end, until hard masks use the limit.
        validation_texts: Validation texts used after each epoch; 0 for all.
        precision: Arithmetic of the model's matrix products while fitting: `auto` is
            bf16 where the processor has it, since it is twice as fast there, and fp32
            elsewhere. Validation is always in float32.
        seed: Seed of initialisation, order and sampling.
        resume: Go on from the last epoch's checkpoint, if there is one.
        window_overlap: Contexts of questions that are too long are fitted in windows
            that share so many tokens; 0 to cut them.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    kind: ProbeKind = "input"
    preset: PresetName = "none"
    relaxation: Relaxation = "mixed"
    epochs: int = 5
    epoch_steps: int = 430
    patience: int = 0
    batch_size: int = 16
    accumulation: int = 1
    dealing: Dealing = "spread"
    states_per_text: int = 4
    initial_bias: float = 3.0
    bottleneck_size: int = 0
    calibrate: bool = True
    validation_texts: int = 600
    precision: PrecisionChoice = "auto"
    seed: int = 0
    resume: bool = False
    window_overlap: int = 0

    def texts_an_epoch(self, num_held: int) -> int:
        """Return how many texts an epoch shows.

        Args:
            num_held: Training texts.
        """
        return self.epoch_steps * self.batch_size or num_held

    def steps_an_epoch(self, num_held: int) -> int:
        """Return how many steps an epoch has.

        Args:
            num_held: Training texts.
        """
        return math.ceil(self.texts_an_epoch(num_held) / self.batch_size)

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all at once."""
        least, most = self.min_multiplier, self.max_multiplier
        counts = ("epochs", "batch_size", "accumulation", "states_per_text")
        rates = ("learning_rate", "margin_share", "integral")
        weights = (
            "window_overlap",
            "baseline_learning_rate",
            "margin",
            "slack",
            "tolerance",
            "energy_weight",
            "complement_weight",
            "validation_texts",
            "bottleneck_size",
        )
        steps = (
            "patience",
            "epoch_steps",
            "warmup_steps",
            "lookahead",
            "max_gradient_norm",
        )
        refuse(
            self,
            *((name, "at least 0", getattr(self, name) >= 0) for name in weights),
            *((name, "at least 1", getattr(self, name) >= 1) for name in counts),
            *((name, "over 0", getattr(self, name) > 0) for name in rates),
            *((name, "at least 0", getattr(self, name) >= 0) for name in steps),
            ("aim", "in [0.1, 1]", LOWEST_AIM <= self.aim <= 1),
            ("quantile", "in (0, 1)", 0 < self.quantile < 1),
            ("final_rate", "in [0, 1]", 0 <= self.final_rate <= 1),
            ("smoothing", "in [0, 1)", 0 <= self.smoothing < 1),
            ("min_multiplier", f"from 0 to {most}, the largest", 0 <= least <= most),
            ("max_train_tokens", "at least 3", self.max_train_tokens >= 3),
        )
