"""From the runs of texts to what their caller is told."""

from collections.abc import Sequence

from diffmask_service.core.decoding import Decoder
from diffmask_service.core.explaining import explain_text, verify
from diffmask_service.core.selection import Selection
from diffmask_service.core.values import Explanation, ModelDescription, Reply, Timings
from diffmask_service.engine.passes import Answered
from diffmask_service.engine.text_work import Timed


def explain_answered(
    answered: Answered, *, model: ModelDescription, decoder: Decoder, is_left_out: bool
) -> Explanation:
    """Build the explanation of one text, verifications included.

    Args:
        answered: Its runs.
        model: What ran.
        decoder: What its logits mean.
        is_left_out: Whether what was asked for is left out by the caller's condition.
    """
    outputs, reading = answered.ran.outputs, answered.reading
    input_gates, hidden_gates = outputs.input_gates, outputs.hidden_gates
    return explain_text(
        reading,
        input_gates=None if input_gates is None else input_gates[0],
        hidden_gates=None if hidden_gates is None else hidden_gates[0],
        selection=answered.selection,
        decoder=decoder,
        verifications=verify(
            reading,
            answered.masks,
            [ran.outputs.logits[0] for ran in answered.verified],
            selection=answered.selection,
            states=model.states,
            decoder=decoder,
        ),
        is_left_out=is_left_out,
    )


def build_reply(
    answered: Sequence[Answered],
    explanations: Timed[list[Explanation]],
    *,
    model: ModelDescription,
    selection: Selection,
    tokenize_seconds: float,
    request_id: str,
) -> Reply:
    """Return the answer to one request.

    Args:
        answered: Its texts, after their runs.
        explanations: One for each, and how long decoding took.
        model: What ran.
        selection: What was asked for.
        tokenize_seconds: How long tokenizing took, seconds.
        request_id: Identity of the call in the log.
    """
    runs = [ran for each in answered for ran in each.runs]
    return Reply(
        model=model.identity,
        states=selection.states,
        explanations=tuple(explanations.value),
        timings=Timings(
            tokenize_seconds=tokenize_seconds,
            queue_seconds=max(ran.queue_seconds for ran in runs),
            infer_seconds=sum(ran.infer_seconds for ran in runs),
            decode_seconds=explanations.seconds,
        ),
        request_id=request_id,
    )
