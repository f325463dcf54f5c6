from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GateKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATE_KIND_UNSPECIFIED: _ClassVar[GateKind]
    GATE_KIND_INPUT: _ClassVar[GateKind]
    GATE_KIND_HIDDEN: _ClassVar[GateKind]

class Granularity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRANULARITY_UNSPECIFIED: _ClassVar[Granularity]
    GRANULARITY_TOKENS: _ClassVar[Granularity]
    GRANULARITY_WORDS: _ClassVar[Granularity]
GATE_KIND_UNSPECIFIED: GateKind
GATE_KIND_INPUT: GateKind
GATE_KIND_HIDDEN: GateKind
GRANULARITY_UNSPECIFIED: Granularity
GRANULARITY_TOKENS: Granularity
GRANULARITY_WORDS: Granularity

class TextInput(_message.Message):
    __slots__ = ("text", "text_pair", "masked_tokens")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXT_PAIR_FIELD_NUMBER: _ClassVar[int]
    MASKED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    text: str
    text_pair: str
    masked_tokens: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, text: _Optional[str] = ..., text_pair: _Optional[str] = ..., masked_tokens: _Optional[_Iterable[int]] = ...) -> None: ...

class ExplainOptions(_message.Message):
    __slots__ = ("gates", "states", "granularity", "top_k", "truncate", "verify", "explain_when")
    GATES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    GRANULARITY_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    VERIFY_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_WHEN_FIELD_NUMBER: _ClassVar[int]
    gates: _containers.RepeatedScalarFieldContainer[GateKind]
    states: _containers.RepeatedScalarFieldContainer[str]
    granularity: Granularity
    top_k: int
    truncate: bool
    verify: VerifyOptions
    explain_when: ExplainWhen
    def __init__(self, gates: _Optional[_Iterable[_Union[GateKind, str]]] = ..., states: _Optional[_Iterable[str]] = ..., granularity: _Optional[_Union[Granularity, str]] = ..., top_k: _Optional[int] = ..., truncate: _Optional[bool] = ..., verify: _Optional[_Union[VerifyOptions, _Mapping]] = ..., explain_when: _Optional[_Union[ExplainWhen, _Mapping]] = ...) -> None: ...

class ExplainWhen(_message.Message):
    __slots__ = ("labels", "probability_below", "probability_at_least", "entropy_at_least")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_BELOW_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    probability_below: float
    probability_at_least: float
    entropy_at_least: float
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., probability_below: _Optional[float] = ..., probability_at_least: _Optional[float] = ..., entropy_at_least: _Optional[float] = ...) -> None: ...

class VerifyOptions(_message.Message):
    __slots__ = ("states",)
    STATES_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, states: _Optional[_Iterable[str]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("model", "version", "inputs", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    inputs: _containers.RepeatedCompositeFieldContainer[TextInput]
    options: ExplainOptions
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[TextInput, _Mapping]]] = ..., options: _Optional[_Union[ExplainOptions, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("model", "states", "explanations", "timings", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: ModelIdentity
    states: _containers.RepeatedScalarFieldContainer[str]
    explanations: _containers.RepeatedCompositeFieldContainer[Explanation]
    timings: Timings
    request_id: str
    def __init__(self, model: _Optional[_Union[ModelIdentity, _Mapping]] = ..., states: _Optional[_Iterable[str]] = ..., explanations: _Optional[_Iterable[_Union[Explanation, _Mapping]]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ExplainStreamRequest(_message.Message):
    __slots__ = ("id", "request", "timeout_seconds")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    request: ExplainRequest
    timeout_seconds: float
    def __init__(self, id: _Optional[str] = ..., request: _Optional[_Union[ExplainRequest, _Mapping]] = ..., timeout_seconds: _Optional[float] = ...) -> None: ...

class ExplainStreamResponse(_message.Message):
    __slots__ = ("id", "response", "failure")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    id: str
    response: ExplainResponse
    failure: Failure
    def __init__(self, id: _Optional[str] = ..., response: _Optional[_Union[ExplainResponse, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "retry_after_seconds")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    retry_after_seconds: float
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., retry_after_seconds: _Optional[float] = ...) -> None: ...

class ModelIdentity(_message.Message):
    __slots__ = ("id", "version", "digest", "precision")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: str
    digest: str
    precision: str
    def __init__(self, id: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., precision: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("prediction", "num_tokens", "is_truncated", "units", "scores", "input_gates", "hidden_gates", "verifications", "is_left_out")
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IS_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    INPUT_GATES_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_GATES_FIELD_NUMBER: _ClassVar[int]
    VERIFICATIONS_FIELD_NUMBER: _ClassVar[int]
    IS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    prediction: Prediction
    num_tokens: int
    is_truncated: bool
    units: Units
    scores: bytes
    input_gates: Gates
    hidden_gates: Gates
    verifications: _containers.RepeatedCompositeFieldContainer[Verification]
    is_left_out: bool
    def __init__(self, prediction: _Optional[_Union[Prediction, _Mapping]] = ..., num_tokens: _Optional[int] = ..., is_truncated: _Optional[bool] = ..., units: _Optional[_Union[Units, _Mapping]] = ..., scores: _Optional[bytes] = ..., input_gates: _Optional[_Union[Gates, _Mapping]] = ..., hidden_gates: _Optional[_Union[Gates, _Mapping]] = ..., verifications: _Optional[_Iterable[_Union[Verification, _Mapping]]] = ..., is_left_out: _Optional[bool] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("label", "label_index", "probabilities", "logits", "label_set", "value", "tags", "span")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SET_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    label: str
    label_index: int
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    logits: _containers.RepeatedScalarFieldContainer[float]
    label_set: LabelSet
    value: Value
    tags: Tags
    span: Span
    def __init__(self, label: _Optional[str] = ..., label_index: _Optional[int] = ..., probabilities: _Optional[_Iterable[float]] = ..., logits: _Optional[_Iterable[float]] = ..., label_set: _Optional[_Union[LabelSet, _Mapping]] = ..., value: _Optional[_Union[Value, _Mapping]] = ..., tags: _Optional[_Union[Tags, _Mapping]] = ..., span: _Optional[_Union[Span, _Mapping]] = ...) -> None: ...

class LabelSet(_message.Message):
    __slots__ = ("labels", "label_indices", "probabilities", "logits")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_INDICES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_indices: _containers.RepeatedScalarFieldContainer[int]
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    logits: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., label_indices: _Optional[_Iterable[int]] = ..., probabilities: _Optional[_Iterable[float]] = ..., logits: _Optional[_Iterable[float]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: float
    def __init__(self, value: _Optional[float] = ...) -> None: ...

class Tags(_message.Message):
    __slots__ = ("words", "labels", "label_indices", "probabilities")
    WORDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LABEL_INDICES_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    words: Units
    labels: _containers.RepeatedScalarFieldContainer[str]
    label_indices: _containers.RepeatedScalarFieldContainer[int]
    probabilities: bytes
    def __init__(self, words: _Optional[_Union[Units, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., label_indices: _Optional[_Iterable[int]] = ..., probabilities: _Optional[bytes] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("text", "start", "end", "probability", "no_answer")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    NO_ANSWER_FIELD_NUMBER: _ClassVar[int]
    text: str
    start: int
    end: int
    probability: float
    no_answer: bool
    def __init__(self, text: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., probability: _Optional[float] = ..., no_answer: _Optional[bool] = ...) -> None: ...

class Units(_message.Message):
    __slots__ = ("texts", "starts", "ends", "segments", "is_special")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    IS_SPECIAL_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedScalarFieldContainer[str]
    starts: _containers.RepeatedScalarFieldContainer[int]
    ends: _containers.RepeatedScalarFieldContainer[int]
    segments: _containers.RepeatedScalarFieldContainer[int]
    is_special: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, texts: _Optional[_Iterable[str]] = ..., starts: _Optional[_Iterable[int]] = ..., ends: _Optional[_Iterable[int]] = ..., segments: _Optional[_Iterable[int]] = ..., is_special: _Optional[_Iterable[bool]] = ...) -> None: ...

class Gates(_message.Message):
    __slots__ = ("values", "shape")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[bytes] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ("state", "divergence", "is_agreeing", "kept_share", "prediction")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    IS_AGREEING_FIELD_NUMBER: _ClassVar[int]
    KEPT_SHARE_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    state: str
    divergence: float
    is_agreeing: bool
    kept_share: float
    prediction: Prediction
    def __init__(self, state: _Optional[str] = ..., divergence: _Optional[float] = ..., is_agreeing: _Optional[bool] = ..., kept_share: _Optional[float] = ..., prediction: _Optional[_Union[Prediction, _Mapping]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("tokenize_seconds", "queue_seconds", "infer_seconds", "decode_seconds")
    TOKENIZE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INFER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DECODE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    tokenize_seconds: float
    queue_seconds: float
    infer_seconds: float
    decode_seconds: float
    def __init__(self, tokenize_seconds: _Optional[float] = ..., queue_seconds: _Optional[float] = ..., infer_seconds: _Optional[float] = ..., decode_seconds: _Optional[float] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("identity", "task", "labels", "max_tokens", "states", "gates", "hard_mask_threshold", "takes_pairs", "is_ready", "manifest_json")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    HARD_MASK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TAKES_PAIRS_FIELD_NUMBER: _ClassVar[int]
    IS_READY_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    identity: ModelIdentity
    task: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    max_tokens: int
    states: _containers.RepeatedScalarFieldContainer[str]
    gates: _containers.RepeatedScalarFieldContainer[GateKind]
    hard_mask_threshold: float
    takes_pairs: bool
    is_ready: bool
    manifest_json: str
    def __init__(self, identity: _Optional[_Union[ModelIdentity, _Mapping]] = ..., task: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., max_tokens: _Optional[int] = ..., states: _Optional[_Iterable[str]] = ..., gates: _Optional[_Iterable[_Union[GateKind, str]]] = ..., hard_mask_threshold: _Optional[float] = ..., takes_pairs: _Optional[bool] = ..., is_ready: _Optional[bool] = ..., manifest_json: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...
