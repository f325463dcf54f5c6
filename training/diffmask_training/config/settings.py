"""Settings of every command but the fit, and those that commands share."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffmask_service.bundle import NAME_PATTERN, VERSION_PATTERN, TaskName
from diffmask_training.config.checks import refuse
from diffmask_training.errors import ConfigError
from diffmask_training.records import MAX_HELD_BYTES, Columns

Precision = Literal["fp32", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the texts are.

    Attributes:
        data: Folder that the file names below are relative to.
        train: File to train on: .csv, .tsv, .jsonl, .json of SQuAD's layout or .txt
            sentiment trees, each with or without .gz; .parquet; or the folder of a
            saved dataset.
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
        no_answer_threshold: Questions may have no answer: said where the first token, a
            special one, scores more than the best span by over this, logits. Without
            one, every question has an answer.
        max_train_tokens: Texts are cut to this while training and evaluating, tokens.
        split_seed: Chooses the texts that are set aside.
        max_held_bytes: Data files of rows up to this size are held in memory. Of larger
            ones a text is read and tokenised whenever its turn comes, and memory holds
            no more than a batch of them; 0 for every file.
    """

    data: Path = Path()
    train: Path = Path("train.csv")
    validation: Path | None = None
    test: Path | None = None
    text_column: str = "text"
    pair_column: str = ""
    label_column: str = "label"
    no_answer_threshold: float | None = None
    max_train_tokens: int = 128
    split_seed: int = 0
    max_held_bytes: int = MAX_HELD_BYTES

    def columns(self) -> Columns:
        """Return the column names as the record reader takes them."""
        return Columns(
            text=self.text_column, text_pair=self.pair_column, label=self.label_column
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig(DataConfig):
    """Fine-tune a classifier on labelled texts, whatever it is to predict.

    Attributes:
        task: What it is to predict.
        base: Directory of the pretrained model and its tokenizer (safetensors).
        checkpoint: Directory that the fine-tuned model is written to.
        labels: Label names in index order; not used for values and for answers.
        window_overlap: Contexts of questions that are too long are learned in windows
            that share so many tokens.
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
    task: TaskName = "text_classification"
    labels: tuple[str, ...] = ("negative", "positive")
    window_overlap: int = 16
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
        least = {"text_classification": 2, "regression": 0, "question_answering": 0}
        num_labels = least.get(self.task, 1)
        shares = ("masked_share", "hidden_share", "max_mask_rate")
        refuse(
            self,
            *((name, "in [0, 1]", 0 <= getattr(self, name) <= 1) for name in shares),
            ("epochs", "over 0", self.epochs > 0),
            ("labels", f"at least {num_labels}", len(self.labels) >= num_labels),
            ("label_column", "named", bool(self.label_column)),
            ("window_overlap", "at least 0", self.window_overlap >= 0),
            ("batch_size", "at least 1", self.batch_size >= 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig(DataConfig):
    """Write a bundle from a classifier and its two probes.

    Attributes:
        checkpoint: Directory of the fine-tuned classifier.
        probes: Directory of its fitted probes.
        bundle: Directory that the bundle is written to.
        triton: Model repository of Triton Inference Server to write the default graph
            to as well.
        reuse: Make no bundle, and take the one that is at `bundle` for `triton`;
            neither classifier nor probes nor texts are needed.
        id: Name of the model.
        version: Version of the model, a positive number.
        base_model: Name of the pretrained model, for the record.
        data_name: Name of the data, for the record.
        notes: What whoever uses the bundle should know besides, for its card.
        precisions: Graphs to write: `fp32`, `w8` (8-bit weights, fp32 arithmetic) and
            `int8` (8-bit arithmetic, about twice as fast on a CPU) and `fp16` (16-bit
            arithmetic, for GPUs).
        default_graph: The one that is served unless told otherwise.
        max_answer_tokens: Longest answer to a question, tokens; other tasks have none.
        force: Export an infeasible or collapsed probe, or a graph that is not true
            enough to the fp32 one; the manifest says so.
    """

    checkpoint: Path = Path("runs/checkpoint")
    probes: Path = Path("runs/probes")
    bundle: Path = Path("runs/bundle")
    triton: Path | None = None
    reuse: bool = False
    id: str = "model"
    version: int = 1
    base_model: str = "unknown"
    data_name: str = "unknown"
    notes: str = ""
    precisions: tuple[Literal["fp32", "fp16", "w8", "int8"], ...] = ("fp32",)
    default_graph: Literal["fp32", "fp16", "w8", "int8"] = "fp32"
    max_answer_tokens: int = 30
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what the manifest would, before the work, and what does nothing."""
        refuse(
            self,
            (
                "id",
                "up to 64 letters, digits and `._-`, a letter or digit first",
                re.match(NAME_PATTERN, self.id) is not None,
            ),
            (
                "version",
                "from 1 to 999999999",
                re.match(VERSION_PATTERN, str(self.version)) is not None,
            ),
            (
                "max_answer_tokens",
                "from 1 to 65536",
                1 <= self.max_answer_tokens <= 65_536,
            ),
        )
        if self.reuse and self.triton is None:
            raise ConfigError(
                "reuse makes no bundle, so that there is nothing to do; name a"
                " repository with --triton, or leave --reuse out"
            )
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
