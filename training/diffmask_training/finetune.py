"""Fine-tuning of a classifier, so that there is something to explain.

Only for our own recipes and for newcomers without a checkpoint: any fine-tuned
classifier of a supported family works with `fit`. The loop is `transformers.Trainer`'s;
what is ours is the optional random masking of what the classifier reads.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
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
from diffmask_training.errors import CheckpointError
from diffmask_training.families import family_of, input_names
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.random_masking import RandomMasking
from diffmask_training.records import Record
from diffmask_training.splits import read_splits
from diffmask_training.tasks import Task, task_named
from diffmask_training.windows import Windows

_HEADS: Mapping[str, Any] = {
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
    "ForQuestionAnswering": AutoModelForQuestionAnswering,
}


def finetune(config: FinetuneConfig) -> dict[str, float]:
    """Fine-tune a classifier and save it with its tokenizer.

    Interrupted runs resume from the last epoch's checkpoint.

    Args:
        config: What to train on and how.

    Returns:
        Figures of the task on the test texts, by name: accuracy and macro F1, in
        [0, 1], where it has them.

    Raises:
        DataError: A data file is missing or malformed.
        CheckpointError: The base directory holds no model, or one of a family that
            cannot be masked though masks are asked for.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not (config.base / "config.json").is_file():
        raise CheckpointError(
            f"{config.base}: holds no pretrained model; name its directory with --base"
        )
    task = task_named(config.task).with_no_answer(config.no_answer_threshold)
    splits = read_splits(
        config, config.labels, task=config.task, phrases=config.phrases
    )
    tokenizer = AutoTokenizer.from_pretrained(config.base)
    torch.manual_seed(config.seed)
    model = _HEADS[task.head].from_pretrained(
        config.base,
        ignore_mismatched_sizes=True,  # of a head that another task was learned with
        **_head_settings(task, config.labels),
    )
    task = task.with_labels(task.labels(model.config))
    if config.masked_share:
        family_of(model)
    arguments = TrainingArguments(
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
    features = _Features(names=input_names(model), task=task, labels=config.labels)
    test = encode_each(splits.test, tokenizer, config.max_train_tokens, task=task)
    collators = {"ForTokenClassification": DataCollatorForTokenClassification}
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=features.of_all(_train(config, splits.train, tokenizer, task)),
        eval_dataset=features.of_all(test),
        data_collator=collators.get(task.head, DataCollatorWithPadding)(tokenizer),
    )
    checkpoints = config.checkpoint / "checkpoints"
    if not config.resume:
        # A later --resume must not take up what an earlier run left.
        shutil.rmtree(checkpoints, ignore_errors=True)
    can_resume = any(checkpoints.glob("checkpoint-*"))
    masking = RandomMasking(
        masked_share=config.masked_share,
        hidden_share=config.hidden_share,
        max_mask_rate=config.max_mask_rate,
    )
    with masking.applied(model, tokenizer):
        trainer.train(resume_from_checkpoint=can_resume)
    report = _figures(model, test, task, pad_id=tokenizer.pad_token_id)
    model.save_pretrained(config.checkpoint)
    tokenizer.save_pretrained(config.checkpoint)
    record = {"config": dataclasses.asdict(config), "report": report}
    (config.checkpoint / "finetune.json").write_text(
        json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8"
    )
    return report


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
) -> Sequence[Encoding]:
    if task.pairs != "needed":
        return encode_each(records, tokenizer, config.max_train_tokens, task=task)
    return Windows(
        tokenizer=tokenizer,
        task=task,
        max_tokens=config.max_train_tokens,
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
