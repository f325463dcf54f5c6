"""Explanations as JSON, for other programs.

The layout is stable: fields may be added, none changes its meaning while `format`
stays the same. Axes are `[layers, tokens]`; numbers are the shortest that give back the
same float32; text is ASCII with escapes, so that any pipe carries it unharmed.

```
{
  "format": 1,
  "model": {"id", "version", "digest", "precision"},
  "request_id": str,
  "options": {                         what was asked for; `replay` asks for it again
    "gates": [str], "states": [str], "granularity": str, "top_k": int or null,
    "truncate", "verify", "verify_states": [str],
    "explain_when": null or {"labels": [str], "probability_below",
                             "probability_at_least", "entropy_at_least"}
  },
  "labels": [str],                     index order; none for question answering
  "states": [str],                     the layers axis
  "hard_mask_threshold": float,
  "explanations": [{
    "text": str,
    "text_pair": str or null,
    "prediction": {
      "label", "label_index", "probabilities": [float], "logits": [float]
    } or {                             several labels
      "labels": [str], "label_indices", "probabilities": [float], "logits": [float]
    } or {                             a value
      "value": float
    } or {                             a label for each word
      "words": [{"text", "start", "end", "label", "label_index",
                 "probabilities": [float]}]
    } or {                             an answer in text_pair
      "text", "start", "end", "probability", "no_answer": bool
    },
    "num_tokens": int,
    "is_truncated": bool,
    "units": null when no gates were asked for, else [{
      "text": str, "start": int, "end": int, "segment": int, "is_special": bool,
      "score": float,                  aggregate score
      "droppable_from": str or null    absent without input gates
    }],
    "input_gates": [[float]] or null,
    "hidden_gates": [[float]] or null,
    "verifications": [{
      "state": str,                    empty for the aggregate score's mask
      "divergence", "is_agreeing", "kept_share", "prediction"
    }],
    "is_left_out": bool                the prediction does not meet `--when-...`
  }],
  "timings": {"tokenize_seconds", "queue_seconds", "infer_seconds", "decode_seconds"}
}
```
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from diffmask_service.core.predictions import (
    Float32Array,
    LabelPrediction,
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.core.values import ExplainOptions, Explanation, TextInput
from diffmask_service.render.report import Report

FORMAT = 1


def render_json(report: Report) -> str:
    """Return a report as indented JSON without a newline at its end."""
    reply = report.reply
    value = {
        "format": FORMAT,
        "model": asdict(reply.model),
        "request_id": reply.request_id,
        "options": _options(report.options),
        "labels": report.labels,
        "states": reply.states,
        "hard_mask_threshold": report.hard_mask_threshold,
        "explanations": [
            _explanation(report, text, explanation)
            for text, explanation in report.items()
        ],
        "timings": asdict(reply.timings),
    }
    return json.dumps(value, indent=1, allow_nan=False)


def _options(options: ExplainOptions) -> dict[str, Any]:
    return {**asdict(options), "gates": sorted(options.gates)}


def _explanation(
    report: Report, text: TextInput, explanation: Explanation
) -> dict[str, Any]:
    return {
        "text": text.text,
        "text_pair": text.text_pair,
        "prediction": _prediction(explanation.prediction),
        "num_tokens": explanation.num_tokens,
        "is_truncated": explanation.is_truncated,
        "units": _units(report, explanation),
        "input_gates": _floats(explanation.input_gates),
        "hidden_gates": _floats(explanation.hidden_gates),
        "verifications": [
            {
                "state": item.state,
                "divergence": item.divergence,
                "is_agreeing": item.is_agreeing,
                "kept_share": item.kept_share,
                "prediction": _prediction(item.prediction),
            }
            for item in explanation.verifications
        ],
        "is_left_out": explanation.is_left_out,
    }


def _units(report: Report, explanation: Explanation) -> list[dict[str, Any]] | None:
    units, scores = explanation.units, explanation.scores
    if units is None or scores is None:
        return None
    rows: list[dict[str, Any]] = [
        {
            "text": text,
            "start": int(units.starts[index]),
            "end": int(units.ends[index]),
            "segment": int(units.segments[index]),
            "is_special": bool(units.is_special[index]),
            "score": _floats(scores[index]),
        }
        for index, text in enumerate(units.texts)
    ]
    for row, state in zip(rows, report.droppable_from(explanation), strict=False):
        row["droppable_from"] = state
    return rows


def _prediction(prediction: Prediction) -> dict[str, Any]:
    match prediction:
        case LabelPrediction():
            return {
                "label": prediction.label,
                "label_index": prediction.label_index,
                "probabilities": _floats(prediction.probabilities),
                "logits": _floats(prediction.logits),
            }
        case LabelSetPrediction():
            return {
                "labels": prediction.labels,
                "label_indices": prediction.label_indices,
                "probabilities": _floats(prediction.probabilities),
                "logits": _floats(prediction.logits),
            }
        case TagsPrediction():
            return {"words": _words(prediction)}
        case ValuePrediction():
            return {"value": _floats(np.float32(prediction.value))}
        case SpanPrediction():
            probability = _floats(np.float32(prediction.probability))
            return {**asdict(prediction), "probability": probability}


def _words(prediction: TagsPrediction) -> list[dict[str, Any]]:
    words = prediction.words
    return [
        {
            "text": text,
            "start": int(words.starts[index]),
            "end": int(words.ends[index]),
            "label": prediction.labels[index],
            "label_index": int(prediction.label_indices[index]),
            "probabilities": _floats(prediction.probabilities[index]),
        }
        for index, text in enumerate(words.texts)
    ]


def _floats(values: Float32Array | np.float32 | None) -> Any:
    # numpy writes a float32 in the fewest digits that give it back; read as a double,
    # those digits are what JSON should show.
    if values is None:
        return None
    return np.array(values).astype(str).astype(np.float64).tolist()
