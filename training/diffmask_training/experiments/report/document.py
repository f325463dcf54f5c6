"""The whole report, and its pictures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from diffmask_training.errors import DataError
from diffmask_training.experiments.report.alone import alone_section, draw_alone
from diffmask_training.experiments.report.convergence import convergence_section
from diffmask_training.experiments.report.methods import (
    draw_methods,
    methods_section,
)
from diffmask_training.experiments.report.sentiment import (
    draw_example as draw_sentence,
)
from diffmask_training.experiments.report.sentiment import (
    draw_groups,
    has_parts_of_speech,
    sentiment_section,
)
from diffmask_training.experiments.report.subsets import subsets_section
from diffmask_training.experiments.report.switches import switches_section
from diffmask_training.experiments.report.toy import (
    draw_example,
    draw_states,
    toy_section,
)
from diffmask_training.experiments.results import Results, read_results

_SENTIMENT = "sentiment-"
_HEAD = """\
# Results

The paper's tables and figures, measured again. This page and its pictures are written
by `python -m diffmask_training.experiments report` from the JSON files beside it, which
the experiments' own commands write; nothing here is typed in by hand. A target that is
missed says so.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSettings:
    """Write the tables and figures of everything that has been run.

    Attributes:
        to: Folder of the results; the report is written beside them.
    """

    to: Path = Path("docs/results")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chapter:
    text: str
    pictures: Mapping[str, Figure] = field(default_factory=dict)


def write_report(settings: ReportSettings) -> None:
    """Write `RESULTS.md` and its pictures.

    Raises:
        DataError: There are no results, or a file holds none.
    """
    directory = settings.to
    files = [read_results(path) for path in sorted(directory.glob("*.json"))]
    chapters = list(_chapters(files))
    if not chapters:
        raise DataError(f"{directory} holds no results; run an experiment first")
    for chapter in chapters:
        for name, figure in chapter.pictures.items():
            _save(figure, directory / f"{name}.svg")
    text = "\n".join([_HEAD, *(chapter.text for chapter in chapters)]).rstrip() + "\n"
    (directory / "RESULTS.md").write_text(text, encoding="utf-8")


def _chapters(files: list[Results]) -> Iterator[_Chapter]:
    by_name = {file.experiment: file for file in files}
    toy = by_name.get("toy")
    if toy is not None:
        yield _toy(toy, by_name, files)
    for name in ("subsets-prediction", "subsets-divergence"):
        if name in by_name:
            yield _Chapter(
                text=subsets_section(by_name[name], tried=_trials(files, name))
            )
    for experiment, results in by_name.items():
        if experiment.startswith(_SENTIMENT):
            name = experiment.removeprefix(_SENTIMENT)
            yield _Chapter(
                text=sentiment_section(results, name=name),
                pictures=_sentiment_pictures(results, name),
            )
    for name, chapter in _OTHERS.items():
        if name in by_name:
            yield chapter(by_name[name], _trials(files, name))


def _toy(
    toy: Results, by_name: Mapping[str, Results], files: list[Results]
) -> _Chapter:
    others = [
        by_name[name] for name in ("toy-published", "toy-others") if name in by_name
    ]
    pictures = {
        "figure-3": draw_example([toy, *others]),
        "figure-11": draw_states(toy),
    }
    tried = {
        file.experiment: _trials(files, file.experiment) for file in (toy, *others)
    }
    return _Chapter(text=toy_section(toy, others, tried=tried), pictures=pictures)


def _alone(results: Results, tried: list[Results]) -> _Chapter:
    pictures = {"figure-12": draw_alone(results)}
    return _Chapter(text=alone_section(results, tried=tried), pictures=pictures)


def _methods(results: Results, tried: list[Results]) -> _Chapter:
    pictures = {"figure-13": draw_methods(results)}
    return _Chapter(text=methods_section(results, tried=tried), pictures=pictures)


def _convergence(results: Results, tried: list[Results]) -> _Chapter:
    return _Chapter(text=convergence_section(results, tried=tried))


def _switches(results: Results, tried: list[Results]) -> _Chapter:
    return _Chapter(text=switches_section(results, tried=tried))


_OTHERS: Mapping[str, Callable[[Results, list[Results]], _Chapter]] = {
    "alone": _alone,
    "methods": _methods,
    "convergence": _convergence,
    "switches": _switches,
}


def _sentiment_pictures(results: Results, name: str) -> dict[str, Figure]:
    pictures = {
        f"figure-4-{name}": draw_groups(results, "by_sentiment"),
        f"figure-6-{name}": draw_sentence(results),
    }
    if has_parts_of_speech(results):
        pictures[f"figure-5-{name}"] = draw_groups(results, "by_part_of_speech")
    return pictures


def _trials(files: list[Results], name: str) -> list[Results]:
    return [file for file in files if file.experiment.startswith(f"{name}.")]


def _save(figure: Figure, path: Path) -> None:
    # Neither dates nor random ids, so that the same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": "diffmask"}):
        figure.savefig(path, metadata={"Date": None})
