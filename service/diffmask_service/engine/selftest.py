"""Proofs at start: the graph gives the exported values, and groups change nothing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diffmask_service.bundle import SelfTest, SelfTestCase
from diffmask_service.core.values import Outputs, TextInput
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.session import Session
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.errors import InferenceError, RequestError, SelfTestError

FETCHES = ("logits", "input_gates", "hidden_gates")


def check_selftest(
    selftest: SelfTest,
    tokenizer: TextTokenizer,
    session: Session,
    *,
    compare_values: bool,
) -> tuple[Row, ...]:
    """Run every case through tokenizer and graph.

    Args:
        selftest: Texts with the values that they must give.
        tokenizer: Of the bundle.
        session: The graph.
        compare_values: Whether the graph is the one that the values come from. Another
            precision must still read the texts and give finite values.

    Returns:
        The texts as the graph reads them.

    Raises:
        SelfTestError: A case gives other tokens or values.
    """
    rows = []
    for index, case in enumerate(selftest.cases):
        where = f"selftest.json, case {index}"
        row = _tokenize(case, tokenizer, where)
        outputs = _run(row, session, where)
        if compare_values:
            _compare(case, outputs, where, tolerance=selftest.tolerance)
        rows.append(row)
    return tuple(rows)


def check_vocabulary(row: Row, tokenizer: TextTokenizer, session: Session) -> None:
    """Check that the graph knows every token that the tokenizer may give it.

    Args:
        row: A text that the graph reads.
        tokenizer: Of the bundle.
        session: The graph.

    Raises:
        SelfTestError: The last token of the vocabulary makes the graph fail.
    """
    input_ids = row.input_ids.copy()
    input_ids[-1] = tokenizer.max_id
    where = f"tokenizer.json, token {tokenizer.max_id}"
    _run(replace(row, input_ids=input_ids), session, where)


def is_exact_in_groups(
    rows: Sequence[Row], session: Session, *, max_group_tokens: int
) -> bool:
    """Return whether texts that share a run get the very bits that they get alone.

    Args:
        rows: Texts to try; each shares a run with its own rotations.
        session: The graph.
        max_group_tokens: Size of the groups, tokens.
    """
    for row in rows:
        num_texts = max_group_tokens // len(row.input_ids)
        group = [
            Row(
                input_ids=np.roll(row.input_ids, shift),
                token_type_ids=np.roll(row.token_type_ids, shift),
            )
            for shift in range(num_texts)
        ]
        if len(group) < 2:
            continue
        together = session.run(group, fetches=FETCHES)
        # The first and the last place of a group are where kernels switch paths.
        for place in (0, num_texts - 1):
            alone = session.run([group[place]], fetches=FETCHES)
            if not _is_same(alone, together, place):
                return False
    return True


def _run(row: Row, session: Session, where: str) -> Outputs:
    try:
        return session.run([row], fetches=FETCHES)
    except InferenceError as error:
        raise SelfTestError(f"{where}: {error}; export the bundle again") from error


def _tokenize(case: SelfTestCase, tokenizer: TextTokenizer, where: str) -> Row:
    text = TextInput(text=case.text, text_pair=case.text_pair)
    try:
        tokens = tokenizer.tokenize(text, truncate=False, where="its text")
    except (RequestError, InferenceError) as error:
        raise SelfTestError(f"{where}: {error}") from error
    found = tuple(tokens.input_ids.tolist())
    if found != case.input_ids:
        raise SelfTestError(
            f"{where}: the tokenizer gives {list(found)}, the exported one gave"
            f" {list(case.input_ids)}"
        )
    return Row(input_ids=tokens.input_ids, token_type_ids=tokens.token_type_ids)


def _compare(
    case: SelfTestCase, outputs: Outputs, where: str, *, tolerance: float
) -> None:
    for name in FETCHES:
        found = getattr(outputs, name)[0]
        expected = np.array(getattr(case, name), dtype=np.float32)
        if name == "logits" and found.size == expected.size:
            expected = expected.reshape(found.shape)
        if found.shape != expected.shape:
            raise SelfTestError(
                f"{where}: {name} has shape {list(found.shape)}, expected"
                f" {list(expected.shape)}"
            )
        difference = float(np.max(np.abs(found - expected)))
        if difference > tolerance:
            raise SelfTestError(
                f"{where}: {name} differs by {difference:.2g} from the exported values"
                f" (allowed: {tolerance:.2g}); this machine computes another answer."
                " Export the bundle again, or serve another of its graphs."
            )


def _is_same(alone: Outputs, together: Outputs, place: int) -> bool:
    return all(
        getattr(alone, name)[0].tobytes() == getattr(together, name)[place].tobytes()
        for name in FETCHES
    )
