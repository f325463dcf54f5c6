"""The model card: a bundle's README.md, written from its manifest and nothing else."""

from diffmask_service.bundle import Graph, LeakageReport, Manifest, ProbeReport


def write_card(manifest: Manifest) -> str:
    """Return the model card as Markdown."""
    parts = [
        _header(manifest),
        *(
            _probe(kind, manifest.probes[kind])
            for kind in ("input", "hidden")
            if kind in manifest.probes
        ),
        *(
            [f"## Notes\n\n{manifest.provenance.notes}"]
            if manifest.provenance.notes
            else []
        ),
        _graphs(manifest),
        _provenance(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _header(manifest: Manifest) -> str:
    scores = "".join(
        f"\n| {_spelled(name)} | {value:.4f} |"
        for name, value in manifest.scores.items()
    )
    return f"""# {manifest.id}, version {manifest.version}

A model that explains itself: {_task(manifest)}; up to {manifest.max_tokens} tokens,
{len(manifest.states)} states. Served by `diffmask serve`.

| | |
| --- | --- |
| pretrained model | {manifest.provenance.base_model} |
| data | {manifest.provenance.data} |
| accuracy | {_share(manifest.accuracy)} |
| macro F1 | {_share(manifest.macro_f1)} |{scores}

An expected gate value is the probability that a gate is not zero. An *input gate* says
how sure the model is, having read up to a state, that a token must be kept; a *hidden
gate* says whether that state itself is needed for the prediction. Values near 0 mean
that the prediction stays the same without it, as the figures below measure; they do not
mean that a person would find it unimportant."""


def _task(manifest: Manifest) -> str:
    labels = _list(manifest.labels)
    match manifest.task:
        case "text_classification":
            return f"one of the labels {labels}"
        case "multi_label_classification":
            return f"any of the labels {labels}"
        case "token_classification":
            return f"for each word one of the labels {labels}"
        case "question_answering":
            none = ", or none" if manifest.no_answer_threshold is not None else ""
            return (
                "an answer to a question, cut out of a context, of up to"
                f" {manifest.max_answer_tokens} tokens{none}"
            )
        case "regression":
            tolerance = 0.0 if manifest.value is None else manifest.value.tolerance
            return f"a number, kept while it changes by no more than {tolerance:.3g}"


def _probe(kind: str, report: ProbeReport) -> str:
    noun = "input tokens" if kind == "input" else "hidden states"
    verdict = "feasible" if report.is_feasible else "**not feasible**"
    advice, complement = "", ""
    if report.verdict is not None:
        found = report.verdict
        if found.outcome.startswith("collapsed"):
            verdict = f"**{found.outcome}**"
        lines = "".join(f"\n- To mend it: {line}." for line in found.advice)
        advice = f"\n{lines}" if lines else ""
        complement = (
            "\n| predictions that the removed part alone gives, validation texts |"
            f" {found.complement_agreement:.1%} |"
        )
    forced = ", **exported on demand all the same**" if report.forced else ""
    stages = ", ".join(
        f"{stage} {seconds:.0f} s" for stage, seconds in report.seconds_by_stage.items()
    )
    names = list(report.states[0].scores)
    heads = "".join(f" {_spelled(name)} |" for name in names)
    if report.leakage is not None:
        heads += " labels told by the mask | nothing but the baseline |"
    columns = heads.count("|")
    rows = "\n".join(
        f"| {s.state} | {1 - s.kept_share:.1%} | {s.agreement:.1%} | {s.divergence:.3f}"
        f" | {s.violation_rate:.1%} | {_share(s.accuracy)} | {_share(s.macro_f1)} |"
        + "".join(f" {s.scores[name]:.4f} |" for name in names)
        + _leak(report.leakage, s.state)
        for s in report.states
    )
    return f"""## Masks of {noun}

Hard masks on {report.num_texts} texts, in PyTorch; means over states. Verdict on the
validation texts: {verdict}{forced}, with a margin of {report.margin:.3g} nats.{advice}

| | |
| --- | --- |
| {noun} masked | {report.masked_share:.1%} |
| predictions kept | {report.agreement:.1%} |
| macro F1, unmasked to masked | {_share(report.macro_f1_before)} to \
{_share(report.macro_f1_after)} |
| accuracy, unmasked to masked | {_share(report.accuracy_before)} to \
{_share(report.accuracy_after)} |
| divergence | {report.divergence:.3f} nats |
| texts over the margin | {report.violation_rate:.1%} |{complement}{_leaks(report)}
| time of the fit | {report.fit_seconds / 60:.1f} minutes ({stages}) |

| state | masked | predictions kept | divergence | over margin | accuracy | macro F1 |\
{heads}
| --- | --- | --- | --- | --- | --- | --- |{" --- |" * columns}
{rows}"""


def _leaks(report: ProbeReport) -> str:
    leakage = report.leakage
    if leakage is None:
        return ""
    worst = max(leakage.states, key=lambda name: leakage.states[name].told_share)
    return (
        f"\n| labels told by the masks' shape alone | at most"
        f" {leakage.states[worst].told_share:.1%} ({worst}), by guessing"
        f" {leakage.majority_share:.1%} |"
    )


def _leak(leakage: LeakageReport | None, state: str) -> str:
    if leakage is None:
        return ""
    found = leakage.states[state]
    return (
        f" {found.told_share:.1%} | {found.empty_label} with"
        f" {found.empty_probability:.2f} |"
    )


def _graphs(manifest: Manifest) -> str:
    parity = manifest.parity
    lines = [
        "## Graphs",
        "",
        "The fp32 graph against PyTorch in float64, on inputs of"
        f" {_list(str(n) for n in parity.lengths)} tokens, alone and batched: logits"
        f" within {parity.max_logit_difference:.1e}, gates within"
        f" {parity.max_gate_difference:.1e} (allowed {parity.tolerance:.0e}).",
    ]
    for precision, graph in manifest.graphs.items():
        lines += ["", _graph(precision, graph)]
    return "\n".join(lines)


def _graph(precision: str, graph: Graph) -> str:
    fused = graph.fused_attentions or (
        "none, since this family's attention has no fused form; runs take longer for it"
    )
    text = f"### {precision}\n\nFused attentions: {fused}."
    if graph.fidelity is not None:
        fidelity = graph.fidelity
        text += (
            f" Against the fp32 graph on {fidelity.num_texts} texts: label agreement"
            f" {fidelity.label_agreement:.2%}, rank correlation"
            f" {fidelity.input_gate_rank_correlation:.4f} of input gates and"
            f" {fidelity.hidden_gate_rank_correlation:.4f} of hidden gates, largest"
            f" gate"
            f" difference {fidelity.max_gate_difference:.3f}, largest logit difference"
            f" {fidelity.max_logit_difference:.3f}."
        )
    if graph.forced:
        text += (
            " **It is not true enough to the fp32 graph, and was exported all the same"
            " with `--force`.**"
        )
    if graph.input_masks:
        states = graph.input_masks
        masked = 1 - sum(s.kept_share for s in states) / len(states)
        kept = sum(s.agreement for s in states) / len(states)
        text += (
            f"\n\nThis graph's own input masks, run through its `keep` input:"
            f" {masked:.1%}"
            f" of input tokens masked, {kept:.1%} of predictions kept, means over"
            f" states;"
            f" accuracy unmasked {_share(graph.accuracy)}, macro F1"
            f" {_share(graph.macro_f1)} unmasked, {_share(_mean_f1(graph))} masked."
        )
    return text


def _mean_f1(graph: Graph) -> float | None:
    scores = [state.macro_f1 for state in graph.input_masks]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def _provenance(manifest: Manifest) -> str:
    provenance = manifest.provenance
    packages = ", ".join(f"{k} {v}" for k, v in provenance.packages.items())
    return f"""## Provenance

Exported {provenance.created} on {provenance.processor}, with {packages}. The settings
of every step are in `manifest.json`."""


def _spelled(name: str) -> str:
    return name.replace("_", " ")


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _list(names: object) -> str:
    return ", ".join(names)  # type: ignore[arg-type]
