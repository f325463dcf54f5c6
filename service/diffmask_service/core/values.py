"""Value types that travel through the service, the same for server and client.

Axes are `[layers, tokens]` for one text; `layers` are the states of the manifest, index
0 first. In a reply cut down to words or to the top k, the `tokens` axis holds those
units.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from diffmask_service.core.predictions import (
    BoolArray,
    Float32Array,
    Int64Array,
    Prediction,
    Units,
)


class Task(StrEnum):
    """What a model predicts."""

    TEXT_CLASSIFICATION = "text_classification"
    MULTI_LABEL_CLASSIFICATION = "multi_label_classification"
    REGRESSION = "regression"
    TOKEN_CLASSIFICATION = "token_classification"  # noqa: S105, no password
    QUESTION_ANSWERING = "question_answering"


class GateKind(StrEnum):
    """Which gates: of the input tokens, or of the hidden states themselves."""

    INPUT = "input"
    HIDDEN = "hidden"


class Granularity(StrEnum):
    """What one unit of an explanation is."""

    TOKENS = "tokens"
    WORDS = "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """One text, or one pair, to be predicted.

    Attributes:
        text: The text, or the question; not empty.
        text_pair: The second text of a pair, or the context that holds the answer; None
            for a single text.
        masked_tokens: Places on the axis `[tokens]` of what the model must not see:
            each has its embedding replaced by the baseline in every run.
    """

    text: str
    text_pair: str | None = None
    masked_tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInput:
    """One text, or one pair, that its caller has tokenized. Axis `[tokens]`.

    Attributes:
        input_ids: `[tokens]` int64. Vocabulary indices, special tokens included.
        token_type_ids: `[tokens]` int64. 0 for the text, 1 for its pair; None when all
            are 0.
    """

    input_ids: Int64Array
    token_type_ids: Int64Array | None = None


# What a model is asked about.
ModelInput: TypeAlias = TextInput | TokenInput


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainWhen:
    """A condition on the prediction of one label: everything given must hold.

    Attributes:
        labels: The predicted label is one of these; empty for any.
        probability_below: Its probability is below this, in [0, 1].
        probability_at_least: Its probability is at least this, in [0, 1].
        entropy_at_least: The entropy of all labels' probabilities is at least this,
            nats, >= 0.
    """

    labels: tuple[str, ...] = ()
    probability_below: float | None = None
    probability_at_least: float | None = None
    entropy_at_least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What an answer should hold beside the prediction.

    Attributes:
        gates: Which gates to return; empty means the prediction alone.
        states: Names of the states to return, in that order; empty means all.
        granularity: Whether a unit is a token or a word.
        top_k: Return only this many units of highest aggregate score, highest first,
            special tokens left out; None means all, in text order.
        truncate: Cut a text over the token limit (and flag it) instead of refusing it.
        verify: Run the model once more on the hard mask and report what it says.
        verify_states: Verify the mask of each of these states, one run each, instead of
            the mask of the aggregate score.
        explain_when: Leave gates and verifications out where the prediction does not
            meet this. The run that predicts computes the gates in any case, so it saves
            bytes of the reply and the verifying runs; None leaves nothing out.
    """

    gates: frozenset[GateKind] = frozenset({GateKind.INPUT, GateKind.HIDDEN})
    states: tuple[str, ...] = ()
    granularity: Granularity = Granularity.TOKENS
    top_k: int | None = None
    truncate: bool = False
    verify: bool = False
    verify_states: tuple[str, ...] = ()
    explain_when: ExplainWhen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A text as the model reads it. All arrays have the axis `[tokens]`.

    Attributes:
        input_ids: `[tokens]` int64. Vocabulary indices, special tokens included.
        token_type_ids: `[tokens]` int64. Segment indices.
        texts: The tokens as the vocabulary spells them.
        offsets: `[tokens, 2]` int64. Start and end in the text, code points; 0, 0 for
            special tokens.
        segments: `[tokens]` int64. 0 for the text, 1 for its pair; 0 for specials.
        word_index: `[tokens]` int64. Which word of its segment; -1 for special tokens.
        is_special: `[tokens]` bool. Tokens that the model's template added.
        is_truncated: Whether the text was cut.
    """

    input_ids: Int64Array
    token_type_ids: Int64Array
    texts: tuple[str, ...]
    offsets: Int64Array
    segments: Int64Array
    word_index: Int64Array
    is_special: BoolArray
    is_truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Raw arrays from the graph for a batch.

    Attributes:
        logits: `[batch, labels]` float32; `[batch, tokens, labels]` of a model that
            labels tokens; `[batch, tokens, 2]` of one that answers questions, the start
            of the answer first.
        input_gates: `[batch, layers, tokens]` float32 in [0, 1], or None if not asked.
        hidden_gates: `[batch, layers, tokens]` float32 in [0, 1], or None if not asked.
    """

    logits: Float32Array
    input_gates: Float32Array | None = None
    hidden_gates: Float32Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the model says of the kept tokens alone.

    Attributes:
        state: Name of the state whose input gates made the mask; empty for the mask of
            the aggregate score.
        divergence: Kullback-Leibler divergence of the masked from the full prediction,
            nats, >= 0.
        is_agreeing: Whether the prediction stays the same: the label, every label, the
            label of every word, the span; a value within the bundle's tolerance.
        kept_share: Share of the tokens that were kept, special tokens counted, in
            [0, 1].
        prediction: The prediction from the kept tokens.
    """

    state: str
    divergence: float
    is_agreeing: bool
    kept_share: float
    prediction: Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A prediction and the reasons for it.

    Attributes:
        prediction: What the model said.
        num_tokens: Tokens that the model read, special tokens counted.
        is_truncated: Whether the text was cut to the token limit.
        units: The tokens or words; None when no gates were asked for.
        scores: `[tokens]` float32 in [0, 1]. Aggregate score: mean over *all* states of
            the expected input gate value, whatever states were chosen.
        input_gates: `[layers, tokens]` float32 in [0, 1]. Expected input gate values.
        hidden_gates: `[layers, tokens]` float32 in [0, 1]. Expected hidden gate values.
        verifications: One for each mask that was verified.
        tokenized: What the model read, whatever units the explanation speaks of; None
            at a client.
        logits: Of the shape that `Outputs` names for the task, without `batch`; None at
            a client.
        is_left_out: Whether gates and verifications that were asked for are missing
            because the prediction does not meet the condition for them.
    """

    prediction: Prediction
    num_tokens: int
    is_truncated: bool
    units: Units | None = None
    scores: Float32Array | None = None
    input_gates: Float32Array | None = None
    hidden_gates: Float32Array | None = None
    verifications: tuple[Verification, ...] = ()
    tokenized: TokenizedText | None = None
    logits: Float32Array | None = None
    is_left_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model answered.

    Attributes:
        id: Name of the model.
        version: Its version, a decimal number.
        digest: sha256 of the bundle's manifest, hex.
        precision: Which of the bundle's graphs ran, such as `w8`.
    """

    id: str
    version: str
    digest: str
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """A served model, as its callers see it.

    Attributes:
        identity: Identity, as every reply carries it.
        task: What it predicts.
        labels: Label names in index order; none where a span is predicted.
        max_tokens: Longest input, tokens, special tokens counted.
        states: Names of all states, index 0 first: the `layers` axis of a full
            explanation.
        gates: Gates that it can return.
        hard_mask_threshold: A token is kept by the hard mask when its expected gate
            value is at least this, in [0, 1].
        takes_pairs: Whether it was trained on text pairs, or on questions and contexts.
        is_ready: Whether it answers requests now.
        manifest_json: The bundle's manifest, JSON.
    """

    identity: ModelIdentity
    task: Task
    labels: tuple[str, ...]
    max_tokens: int
    states: tuple[str, ...]
    gates: tuple[GateKind, ...]
    hard_mask_threshold: float
    takes_pairs: bool
    is_ready: bool
    manifest_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of a call went, summed over its texts; seconds, >= 0.

    Attributes:
        tokenize_seconds: Text to token ids.
        queue_seconds: Longest wait for a free worker.
        infer_seconds: Runs of the graph, verification included.
        decode_seconds: Arrays to explanations.
    """

    tokenize_seconds: float = 0.0
    queue_seconds: float = 0.0
    infer_seconds: float = 0.0
    decode_seconds: float = 0.0

    def joined(self, other: "Timings") -> "Timings":
        """Return the times of two calls together: sums, and the longest wait."""
        return Timings(
            tokenize_seconds=self.tokenize_seconds + other.tokenize_seconds,
            queue_seconds=max(self.queue_seconds, other.queue_seconds),
            infer_seconds=self.infer_seconds + other.infer_seconds,
            decode_seconds=self.decode_seconds + other.decode_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to one call.

    Attributes:
        model: Which model answered.
        states: Names along the `layers` axis, in order.
        explanations: One for each input, in order.
        timings: Where the time went.
        request_id: Identity of the call in the server's log.
    """

    model: ModelIdentity
    states: tuple[str, ...]
    explanations: tuple[Explanation, ...]
    timings: Timings = field(default_factory=Timings)
    request_id: str = ""
