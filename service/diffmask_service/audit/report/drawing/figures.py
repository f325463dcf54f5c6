"""Sections of figures: fidelity, kept shares, where tokens can be dropped."""

from collections.abc import Iterator, Sequence

from diffmask_service.audit.report.drawing.charts import (
    Series,
    histogram,
    line_chart,
)
from diffmask_service.audit.report.drawing.tables import (
    count,
    figure,
    heat_map,
    table,
)
from diffmask_service.audit.report.findings import Findings
from diffmask_service.audit.report.groups import DIVERGENCE_ENDS, Group
from diffmask_service.audit.report.profiles import Profile
from diffmask_service.render.markup import Html, element
from diffmask_service.render.page_map import breakable
from diffmask_service.render.report import printable

# Groups of one kind that are shown; a column may have a thousand.
_MAX_GROUPS = 40


def fidelity(findings: Findings) -> Iterator[Html]:
    """Yield whether explanations hold: agreement, divergence, violations."""
    groups, margin = findings.groups, findings.audit.margin
    over = "" if margin is None else f" The probes' margin is {margin:g} nats."
    yield element(
        "p",
        "Each text was run again from the tokens that its explanation keeps, those"
        f" whose score is {findings.audit.threshold:g} or more. An explanation holds"
        " when the prediction stays the same; the divergence says how far its"
        f" probabilities move.{over} A text over the margin violates what the probes"
        " were fitted to keep.",
    )
    headings = [
        "texts of",
        "group",
        "texts",
        "prediction holds",
        "over margin",
        "divergence",
    ]
    headings += ["tokens kept", "accuracy"]
    yield table(
        headings,
        [_fidelity_row(each, kind) for kind, each in _all_groups(findings)],
        caption="Fidelity, with 95 % intervals; divergence in nats"
        f"{_left_out(groups.by_label, 'labels')}{_left_out(groups.by_slice, 'slices')}",
        cls="sortable",
    )
    yield from _labelled(groups.all)
    ends = [f"{end:g}" for end in DIVERGENCE_ENDS]
    names = [f"under {ends[0]}", *(f"to {end}" for end in ends[1:]), f"{ends[-1]} on"]
    yield histogram(
        groups.divergences,
        names,
        title="Texts by divergence of the prediction from the kept tokens, nats",
    )


def kept(findings: Findings) -> Iterator[Html]:
    """Yield the share of tokens that are kept, by state, label and slice."""
    states = findings.audit.states
    yield element(
        "p",
        "Share of a text's tokens, special tokens counted, that the hard mask of each"
        " state keeps: what the model, having read up to that state, still needs of its"
        " input. The scale runs from 0 to 1 for every state.",
    )
    groups = findings.groups
    kinds = [
        ("by predicted label", "label", groups.by_label),
        ("by slice", "slice", groups.by_slice),
    ]
    whole = [("of all texts", "", ())]
    for title, first, members in [kind for kind in kinds if kind[2]] or whole:
        shown = [groups.all, *_largest(members)]
        yield heat_map(
            [(each.name, each.kept_by_state) for each in shown],
            states,
            caption=f"Kept share by state, {title}{_left_out(members, f'{first}s')}",
            first=first,
        )
    yield element(
        "p",
        element("span", "0", element("i", cls="ramp"), "1  kept share"),
        cls="legend faint",
    )
    yield element(
        "details",
        element("summary", "The numbers with their intervals"),
        table(
            ["texts of", "group", "texts", *(breakable(printable(x)) for x in states)],
            [
                [
                    printable(each.name),
                    kind,
                    count(each.num_texts),
                    *(figure(value) for value in each.kept_by_state),
                ]
                for kind, each in _all_groups(findings)
            ],
            caption="Kept share by state, with 95 % intervals",
            cls="dense",
        ),
    )


def droppable(findings: Findings) -> Iterator[Html]:
    """Yield curves of what can be dropped, and of the gates themselves."""
    profiles, states = findings.profiles, findings.audit.states
    labels = sorted(profiles.by_label, key=lambda each: -each.num_texts)
    by_label = [*profiles.all, *labels]
    yield element(
        "p",
        "An input gate never rises from one state to the next: a token that can be"
        " dropped at a state can be dropped from there on. The earlier a curve rises,"
        " the sooner the model knows that it can do without.",
    )
    yield line_chart(
        [Series(name=each.name, estimates=each.droppable) for each in by_label],
        states,
        title="Droppable from state k on",
        axis="share of a text's tokens whose input gate is under the threshold",
    )
    kinds = profiles.by_segment or by_label
    for title, axis, gates in (
        (
            "Input gates by state",
            "expected gate value, mean",
            [each.input_gates for each in kinds],
        ),
        (
            "Hidden gates by state",
            "expected gate value of the state itself, mean",
            [each.hidden_gates for each in kinds],
        ),
    ):
        named = zip(kinds, gates, strict=True)
        series = [Series(name=each.name, estimates=values) for each, values in named]
        yield line_chart(series, states, title=title, axis=axis)
    if profiles.by_mark:
        yield _states_kept(profiles.by_mark, states, "what people marked")


def speech(findings: Findings) -> Iterator[Html]:
    """Yield the part-of-speech profile, or why there is none."""
    profiles = findings.profiles
    if not profiles.by_tag:
        yield element(
            "p",
            "No part-of-speech tagger was found, or the texts were hashed. With NLTK"
            " and its English tagger installed (pip install nltk; python -m"
            " nltk.downloader averaged_perceptron_tagger_eng), diffmask report adds"
            " this section.",
        )
        return
    yield element(
        "p",
        f"By NLTK's English tagger, on {profiles.num_tagged:,} texts; of texts in"
        " another language these tags mean nothing. The tagger errs too, and more often"
        " the less a text reads like a newspaper.",
    )
    yield _states_kept(profiles.by_tag, findings.audit.states, "part of speech")
    yield heat_map(
        [(each.name, each.input_gates) for each in profiles.by_tag],
        findings.audit.states,
        caption="Mean input gate by part of speech and state",
        first="part of speech",
    )


def _states_kept(profiles: Sequence[Profile], states: Sequence[str], by: str) -> Html:
    return table(
        [by, "tokens", "states that keep it (input)", "states that need it (hidden)"],
        [
            [
                printable(each.name),
                count(each.num_tokens),
                figure(each.states_kept, form=".2f", bar=True, top=len(states)),
                figure(each.hidden_kept, form=".2f", bar=True, top=len(states)),
            ]
            for each in profiles
        ],
        caption=f"Mean number of states, of {len(states)}, by {by}",
        cls="sortable",
    )


def _fidelity_row(group: Group, kind: str) -> list[str]:
    return [
        printable(group.name),
        kind,
        count(group.num_texts),
        figure(group.agreement),
        figure(group.violation),
        figure(group.divergence, form=".3f"),
        figure(group.kept),
        figure(group.accuracy),
    ]


def _all_groups(findings: Findings) -> list[tuple[str, Group]]:
    groups = findings.groups
    return [
        ("all", groups.all),
        *(("predicted label", each) for each in _largest(groups.by_label)),
        *(("slice", each) for each in _largest(groups.by_slice)),
    ]


def _largest(groups: Sequence[Group]) -> list[Group]:
    ranked = sorted(groups, key=lambda each: (-each.num_texts, each.name))
    shown = {each.name for each in ranked[:_MAX_GROUPS]}
    return [each for each in groups if each.name in shown]


def _left_out(groups: Sequence[Group], names: str) -> str:
    if len(groups) <= _MAX_GROUPS:
        return ""
    return f"; the {_MAX_GROUPS} largest of {len(groups)} {names}, summary.json has all"


def _labelled(group: Group) -> Iterator[Html]:
    if group.num_labelled:
        yield element(
            "p",
            f"Accuracy is over the {group.num_labelled:,} texts that have a label; in a"
            " row of a predicted label it is that label's precision.",
            cls="faint",
        )
    if group.num_foreign:
        yield element(
            "p",
            f"{group.num_foreign:,} texts have a label that is none of the model's; it"
            " counts as wrong.",
            cls="warning",
        )
