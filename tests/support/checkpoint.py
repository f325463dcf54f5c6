"""Tiny randomly initialised classifiers, a tokenizer for each, and texts to match."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)

from diffmask_service.bundle import TaskName

GOOD = ("good", "fine", "great", "lovely")
BAD = ("bad", "dull", "awful", "boring")
FILLERS = ("the", "a", "film", "plot", "is", "was", "it", "and", "very", "so")
_WORDS = (*GOOD, *BAD, *FILLERS, "##ly", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tiny:
    """What a family's tiny checkpoint has beside the common sizes.

    Attributes:
        first: Special tokens in front of the words, in the family's own order.
        last: Special tokens behind them.
        pair: How two texts are joined; `$A` and `$B` stand for them.
        config: Settings of the family.
    """

    first: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    last: tuple[str, ...] = ()
    pair: str = "[CLS] $A [SEP] $B:1 [SEP]:1"
    config: Mapping[str, Any] = field(default_factory=dict)


_ROBERTA = _Tiny(
    first=("<s>", "<pad>", "</s>", "<unk>"),
    last=("<mask>",),
    pair="<s> $A </s> </s> $B </s>",
    # Positions are numbered from behind the padding index: two more for 512 tokens.
    config={"max_position_embeddings": 514, "type_vocab_size": 1},
)
# Relative positions alone; version 3 has them in buckets, with shared projections.
_DEBERTA: Mapping[str, Any] = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
}
_TINY_BY_FAMILY: Mapping[str, _Tiny] = {
    "bert": _Tiny(),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": _Tiny(config={"dim": 32, "hidden_dim": 64, "n_heads": 4}),
    "electra": _Tiny(config={"embedding_size": 16}),
    "albert": _Tiny(
        first=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        config={"embedding_size": 16, "classifier_dropout_prob": 0.0},
    ),
    "mpnet": _Tiny(
        first=("<s>", "<pad>", "</s>", "[UNK]"),
        last=("<mask>",),
        pair="<s> $A </s> </s> $B </s>",
        config={"max_position_embeddings": 514},
    ),
    "deberta": _Tiny(config=_DEBERTA),
    "deberta-v2": _Tiny(
        first=("[PAD]", "[CLS]", "[SEP]", "[UNK]"),
        last=("[MASK]",),
        config={
            **_DEBERTA,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        },
    ),
    # One block of global and one of local attention, whose window is shorter than most
    # texts.
    "modernbert": _Tiny(
        first=(),
        last=("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"),
        config={"local_attention": 8, "global_attn_every_n_layers": 2},
    ),
}
FAMILIES = tuple(_TINY_BY_FAMILY)
LABELS_BY_TASK: Mapping[TaskName, tuple[str, ...]] = {
    "text_classification": ("negative", "positive"),
    "multi_label_classification": ("praise", "blame", "plot"),
    "regression": ("LABEL_0",),
    "token_classification": ("O", "GOOD", "BAD"),
    "question_answering": (),
}
_PROBLEMS = {
    "multi_label_classification": "multi_label_classification",
    "regression": "regression",
}
_SETTINGS_BY_TASK: Mapping[TaskName, Mapping[str, Any]] = {
    task: {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": _PROBLEMS.get(task),
    }
    if labels
    else {}
    for task, labels in LABELS_BY_TASK.items()
}
_HEAD_BY_TASK: Mapping[str, Any] = {
    "token_classification": AutoModelForTokenClassification,
    "question_answering": AutoModelForQuestionAnswering,
}


def write_checkpoint(
    directory: Path,
    *,
    family: str = "bert",
    task: TaskName = "text_classification",
    seed: int = 0,
    num_layers: int = 2,
) -> Path:
    """Write a model with random weights and return its directory.

    Args:
        directory: Where to.
        family: Model type as the library names it.
        task: What it predicts.
        seed: Of the weights.
        num_layers: Number of blocks.
    """
    torch.manual_seed(seed)
    tiny = _TINY_BY_FAMILY[family]
    words = [*tiny.first, *_WORDS, *tiny.last]
    special_by_role = _special_by_role(words)
    settings: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "num_hidden_layers": num_layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "pad_token_id": words.index(special_by_role["pad"]),
        "bos_token_id": words.index(special_by_role["cls"]),
        "eos_token_id": words.index(special_by_role["sep"]),
        "cls_token_id": words.index(special_by_role["cls"]),
        "sep_token_id": words.index(special_by_role["sep"]),
        "initializer_range": 0.3,
        **_SETTINGS_BY_TASK[task],
    }
    config = AutoConfig.for_model(family, **{**settings, **tiny.config})
    auto_class: Any = _HEAD_BY_TASK.get(task, AutoModelForSequenceClassification)
    auto_class.from_config(config).save_pretrained(directory)
    tokenizer_of(family).save_pretrained(directory)
    return directory


def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a family's tiny checkpoint."""
    tiny = _TINY_BY_FAMILY[family]
    words = [*tiny.first, *_WORDS, *tiny.last]
    return _tokenizer(words, _special_by_role(words), tiny.pair)


def _special_by_role(words: list[str]) -> dict[str, str]:
    return {
        role: next(word for word in words if word in names)
        for role, names in (
            ("pad", ("[PAD]", "<pad>")),
            ("unk", ("[UNK]", "<unk>")),
            ("cls", ("[CLS]", "<s>")),
            ("sep", ("[SEP]", "</s>")),
            ("mask", ("[MASK]", "<mask>")),
        )
    }


def _tokenizer(
    words: list[str], special_by_role: Mapping[str, str], pair: str
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(
        models.WordPiece(
            {word: index for index, word in enumerate(words)},
            unk_token=special_by_role["unk"],
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    first, last = special_by_role["cls"], special_by_role["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=pair,
        special_tokens=[(token, words.index(token)) for token in (first, last)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=512,
        **{f"{role}_token": token for role, token in special_by_role.items()},
    )


def write_texts(
    path: Path,
    *,
    task: TaskName = "text_classification",
    num_texts: int = 120,
    seed: int = 0,
) -> Path:
    """Write labelled sentences whose one telling word gives the label."""
    generator = torch.Generator().manual_seed(seed)

    def pick(words: tuple[str, ...]) -> str:
        index = torch.randint(len(words), (), generator=generator)
        return words[int(index)]

    lines = []
    for number in range(num_texts):
        label = number % 2
        words = [pick(FILLERS) for _ in range(2 + number % 5)]
        words.insert(number % len(words), pick(GOOD if label else BAD))
        lines.append(json.dumps(_row(task, words, label)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _row(task: TaskName, words: list[str], label: int) -> dict[str, Any]:
    text = " ".join(words) + " ."
    telling = next(word for word in words if word in (*GOOD, *BAD))
    if task == "multi_label_classification":
        names = ["praise" if label else "blame"] + ["plot"] * ("plot" in words)
        return {"text": text, "label": names}
    if task == "regression":
        return {"text": text, "label": label * 4 - 2 + 0.25 * len(words)}
    if task == "token_classification":
        tags = [("GOOD" if label else "BAD") if w == telling else "O" for w in words]
        return {"text": words, "label": tags}
    if task == "question_answering":
        answer = {"text": telling, "answer_start": text.index(telling)}
        return {"text": "what was it", "context": text, "label": [answer]}
    return {"text": text, "label": label}
