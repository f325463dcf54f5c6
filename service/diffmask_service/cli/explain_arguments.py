"""The arguments of `diffmask explain`."""

import argparse
from pathlib import Path

from diffmask_service.cli.arguments import (
    choices,
    count,
    names,
    seconds,
)
from diffmask_service.cli.connection import add_model, add_security, add_server
from diffmask_service.cli.inputs import INPUT_FORMATS
from diffmask_service.core.values import ExplainWhen, GateKind

NO_GATES = "none"
# A server takes a bounded number of texts in one request, 32 unless told otherwise.
TEXTS_PER_CALL = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Predict a text and show why: which tokens each state of the model still needs."
    )
    parser.add_argument(
        "text",
        metavar="TEXT",
        help="The text; - reads texts from standard input, one a line.",
    )
    parser.add_argument(
        "--input-format",
        choices=INPUT_FORMATS,
        default="text",
        help="What a line of standard input is: a text; a text and its pair with a tab"
        " between; or a JSON object with `text` and `text_pair`. [%(default)s]",
    )
    parser.add_argument(
        "--pair",
        "--context",
        metavar="TEXT",
        help="Second text, for models of text pairs; the context, for those that answer"
        " the question TEXT from it. [none]",
    )
    _add_places(parser)
    _add_options(parser)
    _add_condition(parser)
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=Path,
        help="Also write one web page that opens offline. [none]",
    )
    parser.add_argument(
        "--json", action="store_true", help="Print JSON instead of the heat map."
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--bundle",
        metavar="DIR",
        type=Path,
        help="Run this bundle here, without a server. [none]",
    )
    add_server(place)
    add_security(parser)
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="Which graph of the bundle to run: fp32, fp16, int8 or w8. [the bundle's"
        " choice]",
    )
    add_model(parser)
    parser.add_argument(
        "--timeout-seconds",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help=f"Longest wait for {TEXTS_PER_CALL} texts, seconds. [%(default)s]",
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gates",
        metavar="KINDS",
        type=choices(*GateKind, NO_GATES),
        default=tuple(GateKind),
        help="Which gates, with a comma between: input, hidden, or none for the"
        " prediction alone. [input,hidden]",
    )
    parser.add_argument(
        "--states",
        metavar="NAMES",
        type=names,
        default=(),
        help="Which states, in this order, with commas between; `inspect` lists them."
        " [all]",
    )
    parser.add_argument(
        "--words", action="store_true", help="Show words instead of tokens."
    )
    parser.add_argument(
        "--top-k",
        metavar="COUNT",
        type=count,
        help="Only so many tokens or words, of highest score first. [all]",
    )
    parser.add_argument(
        "--truncate",
        action="store_true",
        help="Cut a text that is too long instead of refusing it.",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="Run the model once more on the kept tokens alone and tell what it says.",
    )
    parser.add_argument(
        "--verify-states",
        metavar="NAMES",
        type=names,
        default=(),
        help="Verify the tokens that these states keep, one run each, instead of those"
        " that the score keeps. [none]",
    )


def _add_condition(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "explain only when",
        "Leave the explanation out unless the prediction meets all that is given here."
        " The model computes it in any case; the reply is the smaller.",
    )
    group.add_argument(
        "--when-labels",
        metavar="NAMES",
        type=names,
        default=(),
        help="The label is one of these, with commas between. [any]",
    )
    group.add_argument(
        "--when-below",
        metavar="PROBABILITY",
        type=float,
        help="The label's probability is below this. [any]",
    )
    group.add_argument(
        "--when-at-least",
        metavar="PROBABILITY",
        type=float,
        help="The label's probability is at least this. [any]",
    )
    group.add_argument(
        "--when-entropy",
        metavar="NATS",
        type=float,
        help="The entropy of all labels' probabilities is at least this. [any]",
    )


def read_condition(arguments: argparse.Namespace) -> ExplainWhen | None:
    """Return the condition that was given, or None."""
    condition = ExplainWhen(
        labels=arguments.when_labels,
        probability_below=arguments.when_below,
        probability_at_least=arguments.when_at_least,
        entropy_at_least=arguments.when_entropy,
    )
    return None if condition == ExplainWhen() else condition
