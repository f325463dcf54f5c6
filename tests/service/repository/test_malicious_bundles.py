"""Whatever lies in a version's folder, it is refused by name and the good one answers.

Each case is one way to spoil a bundle, the kind of error that must come of it, and what
the error must say. Where the digests can be right, they are.
"""

import itertools
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from diffmask_service.errors import (
    BundleError,
    DigestMismatch,
    GraphError,
    ManifestError,
    SchemaVersionError,
    SelfTestError,
)
from diffmask_service.repository import ModelFolder, ModelState, Repository
from tests.support import malice
from tests.support.engine import explain_one
from tests.support.malice import GRAPH, Spoiler
from tests.support.repository import put_version
from tests.support.tiny import tiny_files

FILES = tuple(tiny_files())
NESTED: list[object] = []
for _ in range(40):
    NESTED = [NESTED]

Case = tuple[str, Spoiler, type[BundleError], str]
ON_DISK: tuple[Case, ...] = (
    ("link", malice.linked("tokenizer.json", is_hard=False), BundleError, "is a link"),
    ("graph linked", malice.linked(GRAPH, is_hard=False), BundleError, "is a link"),
    (
        "manifest linked",
        malice.linked("manifest.json", is_hard=False),
        BundleError,
        r"manifest\.json: is a link",
    ),
    ("hard link", malice.linked(GRAPH, is_hard=True), BundleError, "has 2 names"),
    ("folder linked", malice.folder_linked, BundleError, "2: is a link"),
    ("pipe", malice.pipe, BundleError, r"README\.md: is no plain file"),
    ("folder for file", malice.device, BundleError, r"README\.md: is no plain file"),
    (
        "stranger",
        malice.stranger("libcustom.so"),
        BundleError,
        r"'libcustom\.so': is not listed",
    ),
    (
        "pickle",
        malice.content("weights.pkl", b"cos\nsystem\n(S'true'\ntR."),
        BundleError,
        r"weights\.pkl: is of a kind",
    ),
    (
        "library",
        malice.content("custom_ops.so", b"\x7fELF"),
        BundleError,
        r"custom_ops\.so: is of a kind",
    ),
    (
        "archive",
        malice.content("model.zip", b"PK\x03\x04"),
        BundleError,
        r"model\.zip: is of a kind",
    ),
    (
        "large manifest",
        malice.resized("manifest.json", 9 << 20),
        BundleError,
        r"manifest\.json: has 9437184 bytes",
    ),
    (
        "large card",
        malice.resized("README.md", 2 << 20),
        BundleError,
        r"README\.md: has 2097152 bytes",
    ),
    ("large graph", malice.resized(GRAPH, 3 << 30), BundleError, "has 3221225472"),
    (
        "large tokenizer",
        malice.resized("tokenizer.json", 1 << 40),
        BundleError,
        r"tokenizer\.json: has 1099511627776 bytes",
    ),
    (
        "swapped",
        malice.replaced("selftest.json", lambda _: tiny_files()["tokenizer.json"]),
        DigestMismatch,
        r"selftest\.json: its bytes",
    ),
    *(
        (f"{name} cut", malice.replaced(name, lambda b: b[:-1]), DigestMismatch, name)
        for name in FILES
    ),
    *(
        (f"{name} empty", malice.replaced(name, lambda _: b""), DigestMismatch, name)
        for name in FILES
    ),
    *(
        (
            f"{name} grown",
            malice.replaced(name, lambda b: b + b"\0"),
            DigestMismatch,
            name,
        )
        for name in FILES
    ),
    *(
        (
            f"{name} without",
            lambda folder, name=name: (folder / name).unlink(),
            BundleError,
            f"{name}: cannot be read",
        )
        for name in (*FILES, "manifest.json")
    ),
)
IN_MANIFEST: tuple[Case, ...] = (
    *(
        (f"file {name!r}", malice.entry(name, "graphs", "fp32", "file"), *refusal)
        for name, refusal in itertools.product(
            (
                "../1/model.fp32.onnx",
                "/etc/passwd",
                "a/../../b.onnx",
                "..",
                "model.onnx\n",
                "model\0.onnx",
                "x" * 5000,
            ),
            [(ManifestError, r"\$\.graphs\[\.\.\.\]\.file")],
        )
    ),
    (
        "listed path",
        malice.entry({"sha256": "0" * 64, "num_bytes": 1}, "files", "../../etc/passwd"),
        ManifestError,
        r"\$\.files",
    ),
    (
        "many files",
        malice.entry(
            {f"{i}.txt": {"sha256": "0" * 64, "num_bytes": 1} for i in range(65)},
            "files",
        ),
        ManifestError,
        r"\$\.files: .*length <= 64",
    ),
    ("path as id", malice.entry("../../tiny", "id"), ManifestError, r"\$\.id"),
    ("other id", malice.entry("other", "id"), ManifestError, r"\$\.id: is 'other'"),
    (
        "other version",
        malice.entry("7", "version"),
        ManifestError,
        r"\$\.version: is '7'",
    ),
    ("later schema", malice.entry(99, "schema_version"), SchemaVersionError, "99"),
    (
        "nested",
        malice.entry(NESTED, "provenance", "config", "deep"),
        ManifestError,
        "nested deeper than 32",
    ),
    (
        "nested without end",
        malice.words_of_manifest('"config": {}', f'"config": {"[" * 100_000}'),
        ManifestError,
        "nested too deep",
    ),
    (
        "key twice",
        malice.words_of_manifest('"id": "tiny"', '"id": "other", "id": "tiny"'),
        ManifestError,
        "the key 'id' twice",
    ),
    (
        "no number",
        malice.words_of_manifest('"accuracy": 1.0', '"accuracy": NaN'),
        ManifestError,
        "NaN, which is no number",
    ),
    (
        "infinite number",
        malice.words_of_manifest('"accuracy": 1.0', '"accuracy": 1e999'),
        ManifestError,
        "1e999, which is too large",
    ),
    (
        "long number",
        malice.words_of_manifest('"num_texts": 1', f'"num_texts": 1{"0" * 5000}'),
        ManifestError,
        "not valid JSON",
    ),
    (
        "half a character",
        malice.words_of_manifest('"negative"', '"\\ud800"'),
        ManifestError,
        "half of a surrogate pair",
    ),
    (
        "absurd length",
        malice.entry(10**9, "max_tokens"),
        ManifestError,
        r"\$\.max_tokens",
    ),
    (
        "absurd labels",
        malice.entry([str(i) for i in range(70_000)], "labels"),
        ManifestError,
        r"\$\.labels",
    ),
    (
        "absurd label",
        malice.entry(["a" * 2000, "b"], "labels"),
        ManifestError,
        r"\$\.labels\[0\]",
    ),
)
IN_TEXTS: tuple[Case, ...] = (
    (
        "self-test not a number",
        malice.content("selftest.json", b'{"tolerance": NaN, "cases": []}'),
        BundleError,
        r"selftest\.json: holds NaN",
    ),
    (
        "self-test nested",
        malice.content("selftest.json", b"[" * 100_000),
        BundleError,
        r"selftest\.json: is nested too deep",
    ),
    (
        "self-test of any tolerance",
        malice.document("selftest.json", lambda test: test.update(tolerance=1e9)),
        BundleError,
        r"selftest\.json: .*tolerance",
    ),
    (
        "self-test of nothing",
        malice.document("selftest.json", lambda test: test["cases"].clear()),
        BundleError,
        r"selftest\.json: holds no cases",
    ),
    (
        "self-test of many cases",
        malice.document(
            "selftest.json", lambda test: test.update(cases=test["cases"] * 257)
        ),
        BundleError,
        r"selftest\.json: .*length <= 256",
    ),
    (
        "self-test of other values",
        malice.document(
            "selftest.json", lambda test: test["cases"][0].update(logits=[1.0, -1.0])
        ),
        SelfTestError,
        "logits differs",
    ),
    (
        "self-test of other shape",
        malice.document(
            "selftest.json", lambda test: test["cases"][0].update(input_gates=[[]])
        ),
        SelfTestError,
        "input_gates has shape",
    ),
    (
        "no tokenizer",
        malice.content("tokenizer.json", b"{}"),
        BundleError,
        r"tokenizer\.json: not a tokenizer",
    ),
    (
        "tokenizer in no characters",
        malice.content("tokenizer.json", b"\xff\xfe"),
        BundleError,
        r"tokenizer\.json: not a tokenizer",
    ),
    (
        "tokenizer nested",
        malice.content("tokenizer.json", b"[" * 100_000),
        BundleError,
        r"tokenizer\.json: not a tokenizer",
    ),
    (
        "tokenizer that panics",
        malice.document(
            "tokenizer.json",
            lambda own: own["post_processor"]["single"][2]["SpecialToken"].update(
                id="x"
            ),
        ),
        SelfTestError,
        "the tokenizer failed",
    ),
    (
        "tokenizer of other tokens",
        malice.document(
            "tokenizer.json",
            lambda own: own["model"]["vocab"].update(good=10, movie=5),
        ),
        SelfTestError,
        "the tokenizer gives",
    ),
    (
        "token that the graph does not know",
        malice.document(
            "tokenizer.json", lambda own: own["model"]["vocab"].update(x=2**32 - 1)
        ),
        SelfTestError,
        r"tokenizer\.json, token 4294967295: the graph failed",
    ),
)
OUTSIDE = "lies in another file"
IN_GRAPH: tuple[Case, ...] = (
    ("no graph", malice.content(GRAPH, b"\xff\xff"), GraphError, "not an ONNX graph"),
    (
        "graphs in graphs",
        malice.content(GRAPH, malice.nested_graphs(50)),
        GraphError,
        "not an ONNX graph",
    ),
    (
        "external by path",
        malice.graph(lambda m: m.graph.initializer.append(malice.external_tensor())),
        GraphError,
        OUTSIDE,
    ),
    (
        "external by flag",
        malice.tensor("weights", data_location=TensorProto.EXTERNAL),
        GraphError,
        OUTSIDE,
    ),
    (
        "external in a constant",
        malice.graph(
            lambda m: m.graph.node.append(
                helper.make_node("Constant", [], ["c"], value=malice.external_tensor())
            )
        ),
        GraphError,
        OUTSIDE,
    ),
    *(
        (
            f"external in {attribute} of {name}",
            malice.control_flow(
                name, attribute, malice.body(tensor=malice.external_tensor())
            ),
            GraphError,
            OUTSIDE,
        )
        for name, attribute in (
            ("If", "then_branch"),
            ("If", "else_branch"),
            ("Scan", "body"),
        )
    ),
    *(
        (
            f"foreign in {attribute} of {name}",
            malice.control_flow(name, attribute, malice.body(domain="evil")),
            GraphError,
            "'Evil' of domain 'evil'",
        )
        for name, attribute in (
            ("If", "then_branch"),
            ("Scan", "body"),
        )
    ),
    (
        "endless",
        malice.control_flow("Loop", "body", malice.body()),
        GraphError,
        "'Loop' is not allowed",
    ),
    (
        "foreign operator",
        malice.graph(lambda m: setattr(m.graph.node[0], "domain", "evil.example")),
        GraphError,
        r"'Gather' of domain 'evil\.example'",
    ),
    (
        "foreign operator set",
        malice.graph(lambda m: m.opset_import.append(helper.make_opsetid("evil", 1))),
        GraphError,
        "the operator set of domain 'evil'",
    ),
    ("function", malice.graph(malice.foreign_function), GraphError, "local functions"),
    ("training", malice.graph(malice.training), GraphError, "for training"),
    *(
        (name, malice.operator(name), GraphError, f"{name!r} is not allowed")
        for name in ("PythonOp", "ATen", "ImageDecoder")
    ),
    (
        "context of a provider",
        malice.operator("EPContext", ep_cache_context="/etc/passwd", embed_mode=0),
        GraphError,
        "'EPContext' is not allowed",
    ),
    (
        "sparse",
        malice.graph(lambda m: m.graph.sparse_initializer.add()),
        GraphError,
        "sparse tensors",
    ),
    (
        "sparse attribute",
        malice.graph(malice.sparse_attribute),
        GraphError,
        "sparse tensors",
    ),
    (
        "absurd dimension",
        malice.tensor("weights", dims=[1 << 40]),
        GraphError,
        r"'weights' has shape \[1099511627776\]",
    ),
    (
        "product over any number",
        malice.tensor("weights", dims=[1 << 31, 1 << 31, 4]),
        GraphError,
        "'weights' has shape",
    ),
    (
        "negative dimension",
        malice.tensor("weights", dims=[-13]),
        GraphError,
        r"'weights' has shape \[-13\]",
    ),
    (
        "less data than its shape",
        malice.tensor("weights", dims=[1000]),
        GraphError,
        r"'weights' does not hold the data of its shape \[1000\]",
    ),
    (
        "data twice",
        malice.tensor("weights", float_data=[0.0] * 13),
        GraphError,
        "'weights' does not hold the data",
    ),
    (
        "strings",
        malice.tensor("weights", data_type=TensorProto.STRING),
        GraphError,
        "'weights' has element type 8",
    ),
    (
        "made of nothing",
        malice.graph(malice.made_tensor([1 << 20, 1 << 20])),
        GraphError,
        "'ConstantOfShape' makes a tensor",
    ),
    (
        "output of absurd size",
        malice.graph(
            lambda m: m.graph.value_info.append(
                helper.make_tensor_value_info("x", TensorProto.FLOAT, [1 << 62])
            )
        ),
        GraphError,
        "4611686018427387904 for a dimension",
    ),
    (
        "name twice",
        malice.graph(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
        GraphError,
        "'weights' is defined twice",
    ),
    (
        "input with a value",
        malice.graph(
            lambda m: m.graph.initializer.append(
                helper.make_tensor("keep", TensorProto.FLOAT, [1], [0.0])
            )
        ),
        GraphError,
        "'keep' is defined twice",
    ),
    (
        "metadata",
        malice.graph(lambda m: m.metadata_props.add(key="k", value="v" * (9 << 20))),
        GraphError,
        "bytes of metadata",
    ),
    (
        "settings of the runtime",
        malice.graph(lambda m: m.metadata_props.add(key="ort_config", value="{}")),
        GraphError,
        "settings of the runtime",
    ),
    (
        "unknown field",
        malice.content(GRAPH, tiny_files()[GRAPH] + b"\xa2\x1f\x01x"),
        GraphError,
        "fields that this release does not know, in a ModelProto",
    ),
    (
        "weights that are no numbers",
        malice.tensor("weights", raw_data=b"\xff" * 52),
        SelfTestError,
        "not finite",
    ),
    (
        "operator that does not exist",
        malice.graph(lambda m: setattr(m.graph.node[0], "op_type", "Nothing")),
        GraphError,
        "ONNX Runtime .* cannot load it",
    ),
)
CASES = (*ON_DISK, *IN_MANIFEST, *IN_TEXTS, *IN_GRAPH)


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [case[1:] for case in CASES],
    ids=[case[0].replace("\0", "0") for case in CASES],
)
async def test_a_malicious_bundle_is_refused_and_the_good_one_answers(
    tmp_path: Path, spoil: Spoiler, kind: type[BundleError], message: str
) -> None:
    root = tmp_path / "models"
    put_version(root, 1)
    repository = Repository(source=ModelFolder(root))
    await repository.start()
    spoil(put_version(root, 2))
    with pytest.raises(kind, match=message) as raised:
        await repository.load("tiny")
    assert type(raised.value) is kind
    assert str(tmp_path) not in str(raised.value)
    assert len(str(raised.value)) < 2000
    good, bad = repository.index()
    assert (good.version, good.state) == ("1", ModelState.READY)
    assert (bad.version, bad.state) == ("2", ModelState.UNAVAILABLE)
    assert bad.reason == str(raised.value)
    engine = repository.find("tiny", version="")
    assert engine.description.identity.version == "1"
    assert (await explain_one(engine)).num_tokens == 6
    repository.close()


def test_there_are_enough_of_them() -> None:
    names = [case[0] for case in CASES]
    assert len(set(names)) == len(names) >= 40
