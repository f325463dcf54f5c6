"""Fine-tuning of a classifier, so that there is something to explain.

One label for a text or a pair is the only task here; `fit` takes models of the others
from wherever they were fine-tuned.

Only for our own recipes and for newcomers without a checkpoint: any fine-tuned
classifier of a supported family works with `fit`. The loop is `transformers.Trainer`'s;
what is ours is the optional random masking of what the classifier reads.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from diffmask_training.config import FinetuneConfig
from diffmask_training.errors import CheckpointError
from diffmask_training.families import family_of, input_names
from diffmask_training.metrics.classification import accuracy, macro_f1
from diffmask_training.random_masking import RandomMasking
from diffmask_training.records import Record
from diffmask_training.splits import read_splits


def finetune(config: FinetuneConfig) -> dict[str, float]:
    """Fine-tune a classifier and save it with its tokenizer.

    Interrupted runs resume from the last epoch's checkpoint.

    Args:
        config: What to train on and how.

    Returns:
        Accuracy and macro F1 on the evaluation split, in [0, 1].

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
    splits = read_splits(config, config.labels, phrases=config.phrases)
    tokenizer = AutoTokenizer.from_pretrained(config.base)
    label_by_id = dict(enumerate(config.labels))
    torch.manual_seed(config.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        config.base,
        num_labels=len(config.labels),
        id2label=label_by_id,
        label2id={label: index for index, label in label_by_id.items()},
    )
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
    names = input_names(model)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=_encode(splits.train, tokenizer, config.max_train_tokens, names),
        eval_dataset=_encode(splits.test, tokenizer, config.max_train_tokens, names),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_figures,
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
    figures = trainer.evaluate()
    report = {
        "accuracy": figures["eval_accuracy"],
        "macro_f1": figures["eval_macro_f1"],
    }
    model.save_pretrained(config.checkpoint)
    tokenizer.save_pretrained(config.checkpoint)
    record = {"config": dataclasses.asdict(config), "report": report}
    (config.checkpoint / "finetune.json").write_text(
        json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8"
    )
    return report


def _encode(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    names: Sequence[str],
) -> list[dict[str, Any]]:
    # A tokenizer may give segments that the model does not take.
    encoded = (
        tokenizer(record.text, record.text_pair, truncation=True, max_length=max_tokens)
        for record in records
    )
    return [
        {
            **{name: values for name, values in encoding.items() if name in names},
            "labels": record.label,
        }
        for encoding, record in zip(encoded, records, strict=True)
    ]


def _figures(prediction: EvalPrediction) -> dict[str, float]:
    predicted = np.argmax(np.asarray(prediction.predictions), axis=-1)
    labels = np.asarray(prediction.label_ids)
    return {
        "accuracy": accuracy(predicted, labels),
        "macro_f1": macro_f1(predicted, labels),
    }
