"""Settings of the commands that measure explanations, or look for better ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffmask_training.config.checks import refuse
from diffmask_training.config.fitting import FitConfig
from diffmask_training.config.settings import DataConfig, Precision
from diffmask_training.errors import ConfigError
from diffmask_training.probes import ProbeKind
from diffmask_training.refinement import BaselineChoice, RefinementSettings

ShortcutKind = Literal["single_token", "token_in_context", "ordered_pair"]
SHORTCUT_KINDS: tuple[ShortcutKind, ...] = (
    "single_token",
    "token_in_context",
    "ordered_pair",
)
Comparator = Literal["integrated-gradients"]


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
        max_texts: Test texts that are measured at all, drawn by chance; 0 for every one
            of them.
        texts: Of these, texts drawn for the figures of faithfulness; 0 for none. Each
            is run under some 150 masks.
        thorough: Also measure deciles, masking curves, leave-one-out, NAOPC and soft
            erasure, which takes several times as long.
        precision: Arithmetic of the masked runs behind the figures of faithfulness:
            `bf16` takes less than half the time on processors that have it, and moves
            means by less than their intervals.
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
    max_texts: int = 0
    texts: int = 200
    thorough: bool = False
    precision: Precision = "fp32"
    random_orders: int = 2
    compare: tuple[Comparator, ...] = ()
    leakage: bool = False
    leakage_texts: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot work, all at once."""
        refuse(
            self,
            ("texts", "0 or at least 2", self.texts == 0 or self.texts >= 2),
            (
                "max_texts",
                "0 or at least 2",
                self.max_texts == 0 or self.max_texts >= 2,
            ),
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
        refuse(
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
