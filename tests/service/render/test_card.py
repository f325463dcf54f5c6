import io
from dataclasses import replace

from rich.console import Console

from diffmask_service.bundle import Bundle, FitVerdict, Graph, GraphFidelity
from diffmask_service.bundle.manifest import parse_manifest
from diffmask_service.render import BundleCard
from tests.support.drifting import tiny_histograms


def shown(bundle: Bundle, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(BundleCard(bundle))
    return stream.getvalue()


def row(text: str, first: str) -> list[str]:
    lines = (line.split() for line in text.splitlines())
    return next(line for line in lines if line[:1] == [first])


def test_card_tells_how_true_a_reduced_graph_is(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    fidelity = GraphFidelity(
        num_texts=872,
        label_agreement=0.9977,
        input_gate_rank_correlation=0.9991,
        hidden_gate_rank_correlation=0.9985,
        max_gate_difference=0.0421,
        max_logit_difference=0.03,
    )
    file = manifest.graphs["fp32"].file
    reduced = Graph(file=file, fused_attentions=6, fidelity=fidelity)
    graphs = {**manifest.graphs, "w8": reduced}
    bundle = replace(tiny_bundle, manifest=replace(manifest, graphs=graphs))
    assert row(shown(bundle), "w8") == [
        *("w8", "0.0", "6", "99.77%", "0.9991", "/", "0.9985", "0.0421"),
    ]


def test_card_has_a_row_for_each_state_of_each_probe(tiny_bundle: Bundle) -> None:
    text = shown(tiny_bundle)
    state = tiny_bundle.manifest.probes["input"].states[0]
    assert row(text, state.state)[1] == f"{state.kept_share:.1%}"
    assert text.count(state.state) == 1 + 2


def test_card_says_that_a_probe_is_infeasible(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    probe = replace(manifest.probes["input"], is_feasible=False, forced=True)
    probes = {**manifest.probes, "input": probe}
    bundle = replace(tiny_bundle, manifest=replace(manifest, probes=probes))
    assert "NO, exported on demand" in shown(bundle)


def test_card_says_how_to_mend_a_collapsed_probe(tiny_bundle: Bundle) -> None:
    manifest = tiny_bundle.manifest
    verdict = FitVerdict(
        outcome="collapsed open",
        margin=0.1,
        output_entropy=0.2,
        kept_shares={"block_1": 0.999},
        agreement=1.0,
        divergence=0.0,
        violation_rate=0.0,
        complement_agreement=0.5,
        states_over_limit=(),
        states_at_bound=("block_1",),
        advice=("lower --initial-bias", "raise --epochs"),
    )
    probe = replace(manifest.probes["input"], verdict=verdict)
    described = replace(manifest, probes={**manifest.probes, "input": probe})
    read = parse_manifest(described.to_json())
    assert read.probes["input"].verdict == verdict
    assert read.probes["hidden"].verdict is None
    text = shown(replace(tiny_bundle, manifest=read))
    assert row(text, "verdict")[-2:] == ["collapsed", "open"]
    assert "lower --initial-bias; raise --epochs" in " ".join(text.split())


def test_card_shows_the_whole_digest(tiny_bundle: Bundle) -> None:
    # Folded where the terminal is narrow, never cut.
    text = shown(tiny_bundle, width=60)
    assert tiny_bundle.digest in "".join(text.split())


def test_card_tells_whether_drift_is_watched(tiny_bundle: Bundle) -> None:
    assert "not watched: the manifest has no histograms" in shown(tiny_bundle, 160)
    manifest = replace(tiny_bundle.manifest, reference=tiny_histograms())
    text = shown(replace(tiny_bundle, manifest=manifest), 160)
    assert "watches input gates against 2 texts, hidden gates against 2 texts" in text
