"""The README.md of a model in Triton's repository: how to load and how to call it."""

from onnx import ModelProto

from diffmask_service.bundle import Bundle

_TENSORS = {
    "input_ids": "token indices, from `tokenizer.json`",
    "attention_mask": "1 for a token, 0 for padding",
    "token_type_ids": "0 for the first text of a pair and for a single one, 1 else",
    "keep": "1 for a token that is to be read, 0 for one whose word embedding is"
    " replaced by the learned baseline; all ones for a normal call",
    "logits": "before softmax or sigmoid",
    "start_logits": "of each token as the first one of the answer",
    "end_logits": "of each token as the last one of the answer",
    "input_gates": "expected input gate values in [0, 1]",
    "hidden_gates": "expected hidden gate values in [0, 1]",
}


def write_guide(bundle: Bundle, model: ModelProto) -> str:
    """Return the page as Markdown.

    Args:
        bundle: Where the model comes from.
        model: Its graph.
    """
    manifest = bundle.manifest
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    opsets = ", ".join(
        f"{opset.domain or 'ai.onnx'} {opset.version}" for opset in model.opset_import
    )
    texts = '"A first text.", "A second one."' if manifest.takes_pairs else '"A text."'
    # As in training: a question that lost its end would be another one.
    is_asked = manifest.task == "question_answering"
    strategy = "only_second" if is_asked else "longest_first"
    rows = [
        f"| `{name}` | {side} | {_TENSORS[name]} |"
        for side, names in (("input", inputs), ("output", outputs))
        for name in names
    ]
    table = "\n".join(["| tensor | | meaning |", "| --- | --- | --- |", *rows])
    return f"""# {manifest.id} for Triton Inference Server

Version {manifest.version} of the bundle with the digest `{bundle.digest}`: the
{manifest.default_graph} graph, prediction and explanation from one forward pass.
The graph is ONNX, version {model.ir_version}, with the operators of {opsets}; Triton's
backend `onnxruntime` needs a release that knows them.

    tritonserver --model-repository .. --log-verbose 1

{table}

The axes are `[batch, tokens]` of inputs and `[batch, layers, tokens]` of gates. The
states along `layers` stand in `config.pbtxt` as `diffmask_states`; a token is kept
where its gate is at least `diffmask_threshold`. The score of a token is the mean of its
input gates over all states. Triton joins requests of one length alone.

## Text

Triton's backend takes no text. Either callers tokenise it, as below, or a step in front
does: a Python model that tokenises and then calls this one (business logic scripting),
or one in an ensemble. `diffmask serve` takes text, and answers with words and offsets.

```python
import numpy as np
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation({manifest.max_tokens}, strategy="{strategy}")
encoding = tokenizer.encode({texts})
arrays = {{
{_arrays(inputs)}
}}
```

```python
import tritonclient.grpc as triton

tensors = []
for name, array in arrays.items():
    datatype = "FP32" if name == "keep" else "INT64"
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    tensors.append(tensor)
client = triton.InferenceServerClient("127.0.0.1:8001")
answer = client.infer("{manifest.id}", tensors)
gates = answer.as_numpy("input_gates")[0]  # layers, tokens
for token, score in zip(encoding.tokens, gates.mean(axis=0)):
    print(f"{{score:.2f}} {{token}}")
```
"""


def _arrays(inputs: list[str]) -> str:
    values = {
        "input_ids": "np.array([encoding.ids], np.int64)",
        "attention_mask": "np.array([encoding.attention_mask], np.int64)",
        "token_type_ids": "np.array([encoding.type_ids], np.int64)",
        "keep": "np.ones((1, len(encoding.ids)), np.float32)",
    }
    return "\n".join(f'    "{name}": {values[name]},' for name in inputs)
