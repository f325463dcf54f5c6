"""Fine-tuning of a classifier, so that there is something to explain.

Only for our own recipes and for newcomers without a checkpoint: any fine-tuned
classifier of a supported family works with `fit`. The loop is `transformers.Trainer`'s;
what is ours is the optional random masking of what the classifier reads.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from diffmask_training.batches import Encoding, sorted_batches
from diffmask_training.config import FinetuneConfig
from diffmask_training.encoding import encode_each
from diffmask_training.epoch_checkpoints import begin, last_whole
from diffmask_training.errors import CheckpointError, NonFiniteError, OutputError
from diffmask_training.families import input_names, max_tokens
from diffmask_training.identity import digest_of, identity_of
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.pretrained import (
    HEADS,
    read_model,
    read_settings,
    read_tokenizer,
    weights_digest,
)
from diffmask_training.random_masking import RandomMasking
from diffmask_training.records import Record
from diffmask_training.splits import read_splits
from diffmask_training.tasks import Task, task_named
from diffmask_training.whole_files import (
    make_folder,
    write_files,
    write_whole,
)
from diffmask_training.windows import Windows


def finetune(config: FinetuneConfig) -> dict[str, float]:
    """Fine-tune a classifier and save it with its tokenizer.

    An interrupted run goes on from the last epoch's checkpoint when asked to resume.

    Args:
        config: What to train on and how.

    Returns:
        Figures of the task on the test texts, by name: accuracy and macro F1, in
        [0, 1], where it has them.

    Raises:
        DataError: A data file is missing or malformed.
        CheckpointError: The base directory holds no model, a damaged one, or one of a
            family that could not be explained afterwards; or the checkpoint to go on
            from belongs to another run.
        NonFiniteError: The loss is not finite.
        OutputError: Something cannot be written.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not (config.base / "config.json").is_file():
        raise CheckpointError(
            f"{config.base}: holds no pretrained model; name its directory with --base"
        )
    read_settings(config.base)
    make_folder(config.checkpoint)
    task = task_named(config.task).with_no_answer(config.no_answer_threshold)
    splits = read_splits(
        config, config.labels, task=config.task, phrases=config.phrases
    )
    torch.manual_seed(config.seed)
    model = read_model(
        config.base,
        HEADS[task.head],
        new_head=True,
        **_head_settings(task, config.labels),
    )
    tokenizer = read_tokenizer(config.base, model)
    task = task.with_labels(task.labels(model.config))
    features = _Features(names=input_names(model), task=task, labels=config.labels)
    longest = min(config.max_train_tokens, max_tokens(model))
    test = encode_each(splits.test, tokenizer, longest, task=task)
    collators = {"ForTokenClassification": DataCollatorForTokenClassification}
    train = _train(config, splits.train, tokenizer, task, longest)
    trainer = _Trainer(
        model=model,
        args=_arguments(config),
        train_dataset=features.of_all(train),
        eval_dataset=features.of_all(test),
        data_collator=collators.get(task.head, DataCollatorWithPadding)(tokenizer),
    )
    begun = _begun(
        config,
        identity_of(
            config,
            base=weights_digest(config.base),
            training_texts=digest_of(train),
            test_texts=digest_of(test),
        ),
    )
    masking = RandomMasking(
        masked_share=config.masked_share,
        hidden_share=config.hidden_share,
        max_mask_rate=config.max_mask_rate,
    )
    with masking.applied(model, tokenizer), _writing(config.checkpoint):
        trainer.train(resume_from_checkpoint=None if begun is None else str(begun))
    report = _figures(model, test, task, pad_id=tokenizer.pad_token_id)
    _save(config, model, tokenizer, report)
    return report


class _Trainer(Trainer):
    """The library's, which goes on whatever the loss is."""

    def training_step(self, *arguments: Any, **settings: Any) -> Tensor:
        """Take one step.

        Raises:
            NonFiniteError: The loss is not finite.
        """
        loss = super().training_step(*arguments, **settings)
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(
                f"step {self.state.global_step + 1}: the loss is not finite; lower"
                " --learning-rate, or use --precision fp32. The last epoch's checkpoint"
                " is as it was"
            )
        return loss


def _arguments(config: FinetuneConfig) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(config.checkpoint / "checkpoints"),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_steps=config.warmup_share,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        bf16=config.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=50,
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
    )


def _save(
    config: FinetuneConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    report: Mapping[str, float],
) -> None:
    record = {"config": dataclasses.asdict(config), "report": report}

    def write(directory: Path) -> None:
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)

    write_files(config.checkpoint, write)
    text = json.dumps(record, indent=2, default=str) + "\n"
    write_whole(config.checkpoint, {"finetune.json": text.encode()})


def _begun(config: FinetuneConfig, identity: Mapping[str, str]) -> Path | None:
    directory = config.checkpoint / "checkpoints"
    if config.resume:
        return last_whole(directory, identity)
    begin(directory, identity)
    return None


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    # The library writes its checkpoints by several others, each with errors of its own.
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise
        raise OutputError(
            f"{directory}: the checkpoint cannot be written"
            f" ({str(error).partition(chr(10))[0]}). Make room, and go on with --resume"
        ) from error


def _head_settings(task: Task, labels: Sequence[str]) -> dict[str, Any]:
    # What the configuration of the base has to say of its new head.
    if task.head == "ForQuestionAnswering":
        return {}
    names = ["LABEL_0"] if task.name == "regression" else labels
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": task.problem,
    }


def _train(
    config: FinetuneConfig,
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    longest: int,
) -> Sequence[Encoding]:
    if task.pairs != "needed":
        return encode_each(records, tokenizer, longest, task=task)
    return Windows(
        tokenizer=tokenizer,
        task=task,
        max_tokens=longest,
        overlap=config.window_overlap,
    ).of_all(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Features:
    """Makes of texts what the library's trainer reads.

    Attributes:
        names: Inputs of the model; a tokenizer may give segments that it does not take.
        task: What it is to predict.
        labels: Label names in index order.
    """

    names: Sequence[str]
    task: Task
    labels: Sequence[str]

    def of_all(self, texts: Sequence[Encoding]) -> Any:
        """Return the features of every text, made when they are asked for."""
        return MadeWhenAsked(texts, self.of)

    def of(self, text: Encoding) -> dict[str, Any]:
        """Return inputs and targets of one text."""
        inputs = {
            "input_ids": list(text.input_ids),
            "attention_mask": [1] * len(text.input_ids),
            "token_type_ids": list(text.token_type_ids),
        }
        return {
            **{name: inputs[name] for name in self.names},
            **self.task.targets(text, self.labels),
        }


@torch.no_grad()
def _figures(
    model: PreTrainedModel, texts: Sequence[Encoding], task: Task, *, pad_id: int
) -> dict[str, float]:
    model.train(mode=False)
    names = input_names(model)
    predictions: list[Any] = []
    labelled: list[Encoding] = []
    for batch in sorted_batches(texts, batch_size=64, pad_id=pad_id):
        inputs = batch.to(model.device).inputs
        logits = task.outputs(model(**{name: inputs[name] for name in names}))
        predictions += task.predict_all(logits.float(), batch.texts)
        labelled += batch.texts
    quality = task.quality(predictions, labelled)
    shares = {"accuracy": quality.accuracy, "macro_f1": quality.macro_f1}
    return {
        **{name: value for name, value in shares.items() if value is not None},
        **quality.scores,
    }
