"""Fine-tuning of a classifier, so that there is something to explain.

Only for our own recipes and for newcomers without a checkpoint: any fine-tuned Hugging
Face classifier works with `fit`. The loop is `transformers.Trainer`'s; what is ours is
the optional random masking of inputs. Masked texts are what the probes will later show
the model, and a model that never saw one reacts to their oddness rather than to what
they lack (Hase et al. 2021, "The Out-of-Distribution Problem in Explainability").
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from diffmask_training.config import FinetuneConfig
from diffmask_training.errors import CheckpointError
from diffmask_training.metrics import accuracy, macro_f1
from diffmask_training.records import Record
from diffmask_training.splits import read_splits


class MaskingCollator:
    """Pads a list of encodings and masks a random share of the tokens of some.

    Attributes:
        tokenizer: Pads; names the [MASK] token and the special ones.
        masked_share: Chance that a text is masked at all, in [0, 1].
        max_mask_rate: A masked text loses each token with a chance drawn evenly from
            0 to this, in [0, 1].
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        masked_share: float,
        max_mask_rate: float,
    ) -> None:
        self.tokenizer = tokenizer
        self.masked_share = masked_share
        self.max_mask_rate = max_mask_rate

    def __call__(self, encodings: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Return padded tensors, masking drawn from torch's global generator."""
        batch = self.tokenizer.pad(list(encodings), return_tensors="pt")
        input_ids = batch["input_ids"]
        special = torch.isin(input_ids, torch.tensor(self.tokenizer.all_special_ids))
        num_texts = input_ids.shape[0]
        chosen = torch.rand(num_texts, 1) < self.masked_share
        rate = torch.rand(num_texts, 1) * self.max_mask_rate
        masked = chosen & ~special & (torch.rand(input_ids.shape) < rate)
        batch["input_ids"] = input_ids.masked_fill(masked, self.tokenizer.mask_token_id)
        return dict(batch)


def finetune(config: FinetuneConfig) -> dict[str, float]:
    """Fine-tune a classifier and save it with its tokenizer.

    Interrupted runs resume from the last epoch's checkpoint.

    Args:
        config: What to train on and how.

    Returns:
        Accuracy and macro F1 on the evaluation split, in [0, 1].

    Raises:
        DataError: A data file is missing or malformed.
        CheckpointError: The base directory holds no model.
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
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=_encode(splits.train, tokenizer, config.max_train_tokens),
        eval_dataset=_encode(splits.test, tokenizer, config.max_train_tokens),
        data_collator=_TrainOnlyMasking(tokenizer, config, model),
        compute_metrics=_figures,
    )
    checkpoints = config.checkpoint / "checkpoints"
    can_resume = config.resume and any(checkpoints.glob("checkpoint-*"))
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


class _TrainOnlyMasking(MaskingCollator):
    """Masks while the model trains and leaves evaluation batches alone."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: FinetuneConfig,
        model: torch.nn.Module,
    ) -> None:
        super().__init__(
            tokenizer,
            masked_share=config.masked_share,
            max_mask_rate=config.max_mask_rate,
        )
        self.model = model

    def __call__(self, encodings: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        if self.model.training:
            return super().__call__(encodings)
        return dict(self.tokenizer.pad(list(encodings), return_tensors="pt"))


def _encode(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> list[dict[str, Any]]:
    return [
        {
            **tokenizer(
                record.text,
                record.text_pair,
                truncation=True,
                max_length=max_tokens,
            ),
            "labels": record.label,
        }
        for record in records
    ]


def _figures(prediction: EvalPrediction) -> dict[str, float]:
    predicted = np.argmax(np.asarray(prediction.predictions), axis=-1)
    labels = np.asarray(prediction.label_ids)
    return {
        "accuracy": accuracy(predicted, labels),
        "macro_f1": macro_f1(predicted, labels),
    }
