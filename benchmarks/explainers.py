"""Explanations a second: our engine against integrated gradients by Captum.

Same checkpoint, same texts, same machine, same number of threads. Captum explains one
text at a time, unpadded, with all its steps in as few batches as asked, and gets the
predicted class for free; parameters need no gradients. Our engine answers whole
requests: tokenizing, both kinds of gates for every state, decoding.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from captum.attr import LayerIntegratedGradients

from diffmask_service.app import open_engine
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine, EngineLimits
from diffmask_training.classifier import Classifier, load_classifier

_TEXTS = (
    "A fast , funny , highly enjoyable movie .",
    "The plot goes nowhere , and it takes two hours to get there .",
    "An intelligent , earnest , intimate film that drops the ball only when it pauses"
    " for blunt exposition to make sure you 're getting its metaphysical point .",
    "Not bad at all - the ending , though , felt rushed and a little dull .",
    "It 's slow -- very , very slow .",
    "Although laced with humor and a few fanciful touches , the film is a refreshingly"
    " serious look at young women .",
    "You do n't have to know about music to appreciate the film 's easygoing blend of"
    " comedy and romance .",
    "A sometimes tedious film .",
)
_TEXTS_PER_REQUEST = 16


def main() -> None:
    """Measure both and print the ratio."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    texts = _read_texts(arguments.texts)
    rates: dict[str, list[float]] = {"engine": [], "captum": []}
    # Every request may wait as long as it takes: only the rate is of interest.
    limits = EngineLimits(
        workers=arguments.threads, queue_tokens=1 << 40, default_deadline_seconds=1e5
    )
    engine = open_engine(arguments.bundle, limits=limits)
    classifier = load_classifier(arguments.checkpoint)
    explain_by_captum = _captum(
        classifier,
        steps=arguments.steps,
        internal_batch_size=arguments.internal_batch_size,
    )

    def run_engine() -> None:
        asyncio.run(_ask(engine, texts * arguments.repeat))

    def run_captum() -> None:
        for text in texts:
            explain_by_captum(text)

    run_engine()
    explain_by_captum(texts[0])
    for _ in range(arguments.rounds):
        rates["engine"].append(len(texts) * arguments.repeat / _seconds(run_engine))
        rates["captum"].append(len(texts) / _seconds(run_captum))
    engine.close()
    ours, theirs = map(statistics.median, rates.values())
    print(f"{len(texts)} texts, {arguments.threads} threads, {arguments.rounds} rounds")
    print(f"engine ({engine.description.identity.precision}): {ours:.1f} a second")
    print(f"integrated gradients, {arguments.steps} steps: {theirs:.3f} a second")
    print(f"ratio: {ours / theirs:.0f}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="what the bundle was made from"
    )
    parser.add_argument("--texts", type=Path, help="one text a line [a few reviews]")
    parser.add_argument("--threads", type=int, default=1, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument(
        "--repeat",
        type=int,
        default=10,
        help="the engine explains every text so often in a round [%(default)s]",
    )
    parser.add_argument("--steps", type=int, default=50, help="[%(default)s]")
    parser.add_argument(
        "--internal-batch-size",
        type=int,
        default=50,
        help="steps that share a run in Captum [%(default)s]",
    )
    return parser.parse_args()


def _read_texts(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return _TEXTS
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


async def _ask(engine: Engine, texts: Sequence[str]) -> None:
    inputs = [TextInput(text=text) for text in texts]
    batches = [
        inputs[start : start + _TEXTS_PER_REQUEST]
        for start in range(0, len(inputs), _TEXTS_PER_REQUEST)
    ]
    await asyncio.gather(
        *(engine.explain(batch, ExplainOptions()) for batch in batches)
    )


def _captum(
    classifier: Classifier, *, steps: int, internal_batch_size: int
) -> Callable[[str], object]:
    model, tokenizer = classifier.encoder.model, classifier.tokenizer
    model.requires_grad_(requires_grad=False)

    def forward(input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(input_ids=input_ids, attention_mask=mask).logits
        return logits

    method = LayerIntegratedGradients(forward, model.get_input_embeddings())

    def explain(text: str) -> object:
        encoded = tokenizer(text, return_tensors="pt")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        with torch.inference_mode():
            target = int(forward(ids, mask).argmax())
        # Special tokens stay, words become padding: the usual reference input.
        special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
        reference = ids.masked_fill(~special, tokenizer.pad_token_id)
        return method.attribute(
            ids,
            baselines=reference,
            additional_forward_args=(mask,),
            target=target,
            n_steps=steps,
            internal_batch_size=internal_batch_size,
        )

    return explain


def _seconds(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
