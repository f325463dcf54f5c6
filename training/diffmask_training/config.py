"""Settings of every command: frozen values, alike as flags and in recipes.

A recipe is a TOML file with the tables `data`, `finetune`, `fit`, `fit.input`,
`fit.hidden` and `export`; each command reads the tables that concern it, and a flag
goes before a recipe.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from diffmask_training.errors import ConfigError
from diffmask_training.lagrangian import NuPI
from diffmask_training.masking import Relaxation
from diffmask_training.objective import LOWEST_AIM, Constraint, ConstraintKind
from diffmask_training.probes import ProbeKind
from diffmask_training.records import Columns
from diffmask_training.refinement import BaselineChoice, RefinementSettings

Precision = Literal["fp32", "bf16"]
ShortcutKind = Literal["single_token", "token_in_context", "ordered_pair"]
SHORTCUT_KINDS: tuple[ShortcutKind, ...] = (
    "single_token",
    "token_in_context",
    "ordered_pair",
)
Comparator = Literal["integrated-gradients"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the texts are.

    Attributes:
        data: Folder that the file names below are relative to.
        train: File to train on: .csv, .tsv, .jsonl, or .txt sentiment trees; .gz
            allowed.
        validation: File that decides among epochs. Without one, a tenth of the training
            texts, chosen by the split seed, is set aside.
        test: File that the reported figures are measured on. Without one, another
            tenth.
        text_column: Column of the text.
        pair_column: Column of the second text of a pair; empty for single texts.
        label_column: Column of the label, its name or its index; empty for unlabelled
            data, for which accuracy and F1 are not reported.
        max_train_tokens: Texts are cut to this while training and evaluating, tokens.
        split_seed: Chooses the texts that are set aside.
    """

    data: Path = Path()
    train: Path = Path("train.csv")
    validation: Path | None = None
    test: Path | None = None
    text_column: str = "text"
    pair_column: str = ""
    label_column: str = "label"
    max_train_tokens: int = 128
    split_seed: int = 0

    def columns(self) -> Columns:
        """Return the column names as the record reader takes them."""
        return Columns(
            text=self.text_column, text_pair=self.pair_column, label=self.label_column
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig(DataConfig):
    """Fine-tune a classifier on labelled texts.

    Attributes:
        base: Directory of the pretrained model and its tokenizer (safetensors).
        checkpoint: Directory that the fine-tuned model is written to.
        labels: Label names in index order.
        phrases: Train on every labelled phrase of sentiment trees, not only sentences.
        epochs: Passes over the training texts.
        batch_size: Texts a step.
        learning_rate: Peak of the linear schedule.
        weight_decay: AdamW weight decay.
        warmup_share: Share of the steps over which the learning rate rises.
        masked_share: Chance that a training text is shown with random tokens masked.
        hidden_share: Chance that this is done at one of its hidden states, where the
            batch's mean takes a token's place, and not with [MASK] in its words.
        max_mask_rate: Such a text loses each token with a chance drawn from 0 to this.
        precision: Arithmetic of the matrix products; weights stay float32.
        seed: Seed of initialisation, order and masking.
        resume: Go on from the last epoch's checkpoint, if there is one.
    """

    base: Path = Path("base")
    checkpoint: Path = Path("runs/checkpoint")
    labels: tuple[str, ...] = ("negative", "positive")
    phrases: bool = False
    epochs: float = 3.0
    batch_size: int = 32
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup_share: float = 0.06
    masked_share: float = 0.0
    hidden_share: float = 0.0
    max_mask_rate: float = 0.5
    precision: Precision = "fp32"
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all at once."""
        shares = ("masked_share", "hidden_share", "max_mask_rate")
        _refuse(
            self,
            *((name, "in [0, 1]", 0 <= getattr(self, name) <= 1) for name in shares),
            ("epochs", "over 0", self.epochs > 0),
            ("batch_size", "at least 1", self.batch_size >= 1),
        )


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
        _refuse(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig(DataConfig):
    """Measure masks on the test texts: of fitted probes, or of a bundle's input gates.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes.
        bundle: A bundle to measure instead; only the hard masks of its input gates.
        report: JSON file for the figures. This and the page add figures of
            faithfulness, with intervals and random controls, for each way of removing
            tokens.
        html: File for the same as one page that opens offline.
        texts: Test texts drawn for those figures; 0 for none of them. A text takes
            about a second.
        random_orders: Random orders of each text that make the controls.
        compare: Other explainers to measure beside the probes; `integrated-gradients`
            needs Captum.
        leakage: Also test whether masks give the label away. Two copies of the
            classifier are fine-tuned for that.
        leakage_texts: Training texts that those are fitted to, and test texts that they
            are measured on, at most.
        seed: Of all that is drawn.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    bundle: Path | None = None
    report: Path | None = None
    html: Path | None = None
    texts: int = 200
    random_orders: int = 5
    compare: tuple[Comparator, ...] = ()
    leakage: bool = False
    leakage_texts: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all at once."""
        _refuse(
            self,
            ("texts", "0 or at least 2", self.texts == 0 or self.texts >= 2),
            ("random_orders", "at least 2", self.random_orders >= 2),
            ("leakage_texts", "at least 10", self.leakage_texts >= 10),
        )
        if self.bundle is not None and (self.html or self.leakage or self.compare):
            raise ConfigError(
                "a bundle's hard masks alone can be measured; for --html, --leakage or"
                " --compare name the --checkpoint and --probes it was made from"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefineConfig:
    """Find the gates of single texts by optimisation, beside those of a fitted probe.

    Attributes:
        text: A text; the flag may name several.
        file: File of more texts: .csv, .tsv or .jsonl; .gz allowed.
        text_column: Column of the text.
        pair_column: Column of the second text of a pair; empty for single texts.
        max_texts: Texts taken from the file, at most; 0 for all.
        max_tokens: Texts are cut to this, tokens.
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes.
        kind: What is masked: input tokens or hidden states.
        failing_only: Refine only texts whose masks by the probe break the margin.
        margin: Allowed divergence, nats; 0 for that of the probe's fit.
        baseline: What takes a masked token's place: the probe's learned vector, the
            word [MASK], zeros, or a vector learned for the text alone, which gives the
            answer away and is there for comparison.
        steps: Of the optimiser.
        samples: Sampled masks a step.
        report: JSON file for the gates; none when empty.
        seed: Of the samples.
    """

    text: tuple[str, ...] = ()
    file: Path | None = None
    text_column: str = "text"
    pair_column: str = ""
    max_texts: int = 0
    max_tokens: int = 128
    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    kind: ProbeKind = "input"
    failing_only: bool = False
    margin: float = 0.0
    baseline: BaselineChoice = "probe"
    steps: int = 150
    samples: int = 4
    report: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all at once."""
        _refuse(
            self,
            ("margin", "0 or over", self.margin >= 0),
            ("steps", "at least 1", self.steps >= 1),
            ("samples", "at least 1", self.samples >= 1),
            ("max_texts", "0 or over", self.max_texts >= 0),
            ("max_tokens", "at least 3", self.max_tokens >= 3),
        )

    def refinement(self, margin: float) -> RefinementSettings:
        """Return the settings as the refinement takes them.

        Args:
            margin: Of the probe's fit, nats; for where none is set here.
        """
        return RefinementSettings(
            margin=self.margin or margin,
            baseline=self.baseline,
            steps=self.steps,
            samples=self.samples,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomiseConfig(FitConfig):
    """Spoil a classifier's layers from the top and fit its input probe anew.

    Explanations of a spoilt classifier should be unlike those of the real one. The
    settings of `fit` apply to each of the new probes; `probes` holds the one that
    they are compared with.

    Attributes:
        output: Directory that spoilt classifiers and their probes are written to.
        depths: How far it is spoilt: 0 is the head alone, n also the n blocks on top,
            -1 everything.
        texts: Test texts that are compared, at most.
        spoiling_seed: Of the weights drawn anew.
        report: JSON file for the figures; none when empty.
    """

    output: Path = Path("runs/randomised")
    depths: tuple[int, ...] = (0, 1, -1)
    texts: int = 200
    spoiling_seed: int = 0
    report: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutConfig(FitConfig):
    """Plant shortcuts in the training texts and see whether explanations find them.

    A classifier is fine-tuned for every kind of shortcut and a probe fitted to it; the
    settings of `fit` apply to each.

    Attributes:
        base: Directory of the pretrained model and its tokenizer (safetensors).
        labels: Two label names in index order.
        shortcuts: Kinds: one word for each label, the same in the presence of a third,
            or two words in one order or the other.
        share: Of the texts that get a shortcut, and of those that get a word of one
            that decides nothing.
        finetune_epochs: Passes of the fine-tuning.
        finetune_learning_rate: Peak of its schedule.
        masked_share: Chance that it shows a text with random tokens masked.
        output: Directory that texts, classifiers and probes are written to.
        texts: Test texts that a shortcut is looked for in, at most.
        report: JSON file for the figures; none when empty.
    """

    base: Path = Path("base")
    labels: tuple[str, ...] = ("negative", "positive")
    shortcuts: tuple[ShortcutKind, ...] = SHORTCUT_KINDS
    share: float = 0.25
    finetune_epochs: float = 2.0
    finetune_learning_rate: float = 5e-5
    masked_share: float = 0.5
    output: Path = Path("runs/shortcuts")
    texts: int = 200
    report: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig(DataConfig):
    """Write a bundle from a classifier and its two probes.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes.
        bundle: Directory that the bundle is written to.
        id: Name of the model.
        version: Version of the model, a positive number.
        base_model: Name of the pretrained model, for the record.
        data_name: Name of the data, for the record.
        notes: What whoever uses the bundle should know besides, for its card.
        precisions: Graphs to write: `fp32`, and `w8` (8-bit weights, fp32 arithmetic).
        default_graph: The one that is served unless told otherwise.
        force: Export an infeasible or collapsed probe; the manifest says so.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    bundle: Path = Path("runs/bundle")
    id: str = "model"
    version: int = 1
    base_model: str = "unknown"
    data_name: str = "unknown"
    notes: str = ""
    precisions: tuple[Literal["fp32", "w8"], ...] = ("fp32",)
    default_graph: Literal["fp32", "w8"] = "fp32"
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse a default graph that is not written."""
        if self.default_graph not in self.precisions:
            raise ConfigError(
                f"default_graph {self.default_graph} is not among precisions"
                f" {', '.join(self.precisions)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """Check a bundle against the classifier and the probes it was made from.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes.
        bundle: The bundle.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    bundle: Path = Path("runs/bundle")


def _refuse(config: object, *rules: tuple[str, str, bool]) -> None:
    wrong = [
        f"{name} must be {rule}, not {getattr(config, name)}"
        for name, rule, is_right in rules
        if not is_right
    ]
    if wrong:
        raise ConfigError("; ".join(wrong))


def read_recipe(name: str) -> Mapping[str, Any]:
    """Read a recipe by file name, or by the name of one that ships with the package.

    Args:
        name: A path of a TOML file, or a name such as `sst2-minilm`.

    Raises:
        ConfigError: There is no such recipe, or it is not valid TOML.
    """
    shipped = resources.files("diffmask_training") / "recipes"
    path = Path(name)
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        return tomllib.loads((shipped / f"{name}.toml").read_text(encoding="utf-8"))
    except OSError as error:
        known = sorted(f.name[:-5] for f in shipped.iterdir() if f.name[-5:] == ".toml")
        raise ConfigError(
            f"no recipe {name!r}; name a .toml file or one of {', '.join(known)}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {name}: {error}") from error


def from_tables(config_class: type[Any], *tables: Mapping[str, Any]) -> Any:
    """Build settings from recipe tables, later tables going before earlier ones.

    Nested tables are not fields and are passed over; so are fields of the shared `data`
    table that a command does not have.

    Raises:
        ConfigError: A table of the command itself names a field that it does not have,
            or a value has the wrong type.
    """
    types = {field.name: field for field in dataclasses.fields(config_class)}
    values: dict[str, Any] = {}
    for position, table in enumerate(tables):
        for key, value in table.items():
            if isinstance(value, Mapping):
                continue
            if key in types:
                values[key] = _converted(key, value, types[key].default)
            elif position > 0:
                raise ConfigError(
                    f"recipe: {config_class.__name__} has no field {key!r}; fields are"
                    f" {', '.join(types)}"
                )
    return config_class(**values)


def _converted(key: str, value: Any, default: Any) -> Any:
    # TOML has no paths and no tuples; None stands for an optional path.
    if default is None or isinstance(default, Path):
        if not isinstance(value, str):
            raise ConfigError(f"recipe: {key} must be a path, not {value!r}")
        return Path(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    is_number = isinstance(default, float) and isinstance(value, int | float)
    if type(value) is not type(default) and not (
        is_number and not isinstance(value, bool)
    ):
        raise ConfigError(
            f"recipe: {key} must be a {type(default).__name__}, not {value!r}"
        )
    return value
