"""A bundle's card in the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diffmask_service.bundle import Bundle, LeakageReport, Manifest, ProbeReport


@dataclass(frozen=True, slots=True)
class BundleCard:
    """Identity, graphs, training report and provenance of a bundle."""

    bundle: Bundle

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield the card section by section."""
        manifest = self.bundle.manifest
        yield Text(f"{manifest.id} version {manifest.version}", style="bold")
        yield _indented(_facts(self.bundle))
        yield _heading("Graphs")
        yield _indented(_graphs(manifest))
        yield _indented(Text(_parity(manifest), style="dim"))
        for kind, probe in manifest.probes.items():
            title = f"Probes of {kind} gates, hard masks, {probe.num_texts} texts"
            yield _heading(title)
            yield _indented(_probe(probe))
            yield _indented(_states(probe))
        yield _heading("Provenance")
        yield _indented(_provenance(manifest))
        yield _heading("Checks")


def _facts(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    return _pairs(
        ("digest", bundle.digest),
        ("task", manifest.task + (", text pairs" if manifest.takes_pairs else "")),
        ("labels", ", ".join(manifest.labels) or "none"),
        ("states", ", ".join(manifest.states)),
        ("input limit", f"{manifest.max_tokens} tokens"),
        ("hard mask", f"keeps gates of {manifest.gates.hard_mask_threshold:g} or more"),
        ("drift", _drift(manifest)),
        *_quality(manifest),
    )


def _drift(manifest: Manifest) -> str:
    watched = [
        f"{kind} gates against {sum(reference.num_texts)} texts"
        for kind, reference in manifest.reference.items()
        if reference.histograms is not None
    ]
    if not watched:
        return "not watched: the manifest has no histograms; export the bundle again"
    return "a server watches " + ", ".join(watched)


def _quality(manifest: Manifest) -> list[tuple[str, str]]:
    pairs = [("accuracy", _share(manifest.accuracy))]
    pairs += [("macro F1", _share(manifest.macro_f1))]
    pairs += [(_spelled(name), f"{x:.4g}") for name, x in manifest.scores.items()]
    return [(name, value) for name, value in pairs if value]


def _graphs(manifest: Manifest) -> Table:
    table = _table(
        "precision", "MB", "fused", "labels agree", "rank corr.", "largest diff."
    )
    for precision, graph in manifest.graphs.items():
        fidelity = graph.fidelity
        is_default = precision == manifest.default_graph
        size = f"{manifest.files[graph.file].num_bytes / 1e6:.1f}"
        measured = ("", "", "")
        if fidelity is not None:
            measured = (
                f"{fidelity.label_agreement:.2%}",
                f"{fidelity.input_gate_rank_correlation:.4f} /"
                f" {fidelity.hidden_gate_rank_correlation:.4f}",
                f"{fidelity.max_gate_difference:.4f}",
            )
        table.add_row(
            precision + (" (default)" if is_default else ""),
            size,
            str(graph.fused_attentions),
            *measured,
        )
    return table


def _parity(manifest: Manifest) -> str:
    parity = manifest.parity
    return (
        "Agreement is with fp32: labels, rank correlation of input / hidden gates,"
        f" largest gate difference. fp32 against PyTorch: logits"
        f" {parity.max_logit_difference:.1e}, gates {parity.max_gate_difference:.1e}"
        f" (allowed {parity.tolerance:.0e})."
    )


def _probe(probe: ProbeReport) -> Table:
    state = "yes" if probe.is_feasible else "NO"
    if probe.forced:
        state += ", exported on demand"
    verdict = probe.verdict
    reasons = [] if verdict is None else [("verdict", verdict.outcome)]
    if verdict is not None and verdict.advice:
        reasons.append(("to mend it", "; ".join(verdict.advice)))
    return _pairs(
        ("within margin", f"{state} (margin {probe.margin:g} nats)"),
        *reasons,
        ("masked", f"{probe.masked_share:.1%} of tokens"),
        ("predictions kept", f"{probe.agreement:.1%}"),
        *_change("accuracy", probe.accuracy_before, probe.accuracy_after),
        *_change("macro F1", probe.macro_f1_before, probe.macro_f1_after),
        *_leaks(probe.leakage),
        ("fitted in", f"{probe.fit_seconds:.0f} s"),
    )


def _change(
    name: str, before: float | None, after: float | None
) -> list[tuple[str, str]]:
    if before is None or after is None:
        return []
    return [(name, f"{before:.1%} to {after:.1%}")]


def _leaks(leakage: LeakageReport | None) -> list[tuple[str, str]]:
    if leakage is None:
        return []
    told = leakage.majority_share + leakage.largest_gain
    return [
        (
            "labels told",
            f"at most {told:.1%} by the shape of masks alone,"
            f" {leakage.majority_share:.1%} by guessing",
        )
    ]


def _states(probe: ProbeReport) -> Table:
    names = [_spelled(name) for name in probe.states[0].scores]
    headings = ("kept", "agree", "nats", "over", "acc.", "F1", *names, "mult.")
    table = _table("state", *headings)
    for state in probe.states:
        table.add_row(
            state.state,
            f"{state.kept_share:.1%}",
            f"{state.agreement:.1%}",
            f"{state.divergence:.3f}",
            f"{state.violation_rate:.1%}",
            _share(state.accuracy, digits=1),
            _share(state.macro_f1, digits=1),
            *(f"{value:.3g}" for value in state.scores.values()),
            f"{state.multiplier:.2f}",
        )
    return table


def _provenance(manifest: Manifest) -> Table:
    origin = manifest.provenance
    packages = (f"{name} {version}" for name, version in origin.packages.items())
    return _pairs(
        ("created", origin.created),
        ("base model", origin.base_model),
        ("data", origin.data),
        ("packages", ", ".join(packages)),
        ("processor", origin.processor),
    )


def _share(value: float | None, *, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}%}"


def _spelled(name: str) -> str:
    return name.replace("_", " ")


def _heading(text: str) -> RenderableType:
    return Padding(Text(text, style="bold"), (1, 0, 0, 0))


def _indented(content: RenderableType) -> RenderableType:
    return Padding(content, (0, 0, 0, 2))


def _pairs(*pairs: tuple[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
