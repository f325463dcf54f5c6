"""The graph as every peer runs it: one text in, logits out; no package of ours."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Predictor:
    """A graph with its tokenizer.

    Args:
        directory: Holds `model.onnx`, `tokenizer.json` and `peer.json`.
    """

    def __init__(self, directory: Path) -> None:
        settings = json.loads((directory / "peer.json").read_text())
        self._inputs = settings["inputs"]
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings["max_tokens"])
        # As our service opens a graph, with what `peer.json` says of its fusions.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(directory / "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=settings["disabled_optimizers"],
        )

    def predict(self, text: str) -> list[float]:
        """Return `[labels]`: the logits of one text."""
        encoding = self._tokenizer.encode(text)
        ids = np.array([encoding.ids], dtype=np.int64)
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
            "keep": np.ones(ids.shape, dtype=np.float32),
        }
        fed = {name: feeds[name] for name in self._inputs}
        (logits,) = self._session.run(["logits"], fed)
        return [float(value) for value in logits[0]]
