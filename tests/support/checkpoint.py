"""A tiny randomly initialised BERT classifier, its tokenizer, and texts to match."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

GOOD = ("good", "fine", "great", "lovely")
BAD = ("bad", "dull", "awful", "boring")
FILLERS = ("the", "a", "film", "plot", "is", "was", "it", "and", "very", "so")
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_checkpoint(directory: Path, *, seed: int = 0, num_layers: int = 2) -> Path:
    """Write a classifier with random weights and return its directory."""
    torch.manual_seed(seed)
    words = [*_SPECIALS, *GOOD, *BAD, *FILLERS, "##ly", "."]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=512,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
        initializer_range=0.3,
    )
    BertForSequenceClassification(config).save_pretrained(directory)
    tokenizer = Tokenizer(
        models.WordPiece(
            {word: index for index, word in enumerate(words)}, unk_token="[UNK]"
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
    ).save_pretrained(directory)
    return directory


def write_texts(path: Path, *, num_texts: int = 120, seed: int = 0) -> Path:
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
        lines.append(json.dumps({"text": " ".join(words) + " .", "label": label}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
