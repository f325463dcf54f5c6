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

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the texts are.

    Attributes:
        data: Folder that the file names below are relative to.
        train: File to train on: .csv, .tsv, .jsonl, .json in SQuAD's layout, or .txt
            sentiment trees; .gz allowed.
        validation: File that decides among epochs. Without one, a tenth of the training
            texts, chosen by the split seed, is set aside.
        test: File that the reported figures are measured on. Without one, another
            tenth.
        text_column: Column of the text; of the words for token classification, of the
            question for question answering.
        pair_column: Column of the second text of a pair, or of the context; empty for
            single texts.
        label_column: Column of the label: its name or its index, a list of either, a
            number, the tags of the words, or the answers; empty for unlabelled data,
            for which accuracy and F1 are not reported.
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
        bundle: A bundle to measure instead; only the input gates can be.
        report: JSON file for the figures; none when empty.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    bundle: Path | None = None
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
        max_answer_tokens: Longest answer to a question, tokens; other tasks have none.
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
    max_answer_tokens: int = 30
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
