"""Sections of words: what decides each class, and which words may be shortcuts."""

from collections.abc import Iterator

from diffmask_service.audit.report.drawing.tables import amount, count, figure, table
from diffmask_service.audit.report.findings import Findings
from diffmask_service.audit.report.shortcuts import Shortcut
from diffmask_service.audit.report.vocabulary import MIN_TEXTS, Deciding
from diffmask_service.render.markup import Html, element
from diffmask_service.render.report import printable

# A word is marked as a suspect when the interval of its insertion lies above this.
_SUSPECT = 0.5
_MAX_LABELS = 12


def deciding(findings: Findings) -> Iterator[Html]:
    """Yield the tokens and words that decide each class."""
    vocabulary = findings.vocabulary
    if not any(vocabulary.words.values()):
        yield element(
            "p",
            "None: the model has no single label, the texts were hashed, or no word is"
            f" in {MIN_TEXTS} texts and decides one class more than the others.",
        )
        return
    yield element(
        "p",
        "A word decides a class in a text when the explanation keeps it there and the"
        " model predicts that class. Words are ranked by how far the number of such"
        " texts lies above what the class's share of all texts would give, in standard"
        " errors. A gate says that a word is needed, not what for: a word that is kept"
        " wherever it stands counts for the class that is frequent among its texts."
        f" Words and tokens in fewer than {MIN_TEXTS} texts are left out.",
    )
    num_labels = sum(map(bool, vocabulary.words.values()))
    if num_labels > _MAX_LABELS:
        yield element(
            "p",
            f"The {_MAX_LABELS} labels whose words are in the most texts are shown, of"
            f" {num_labels}.",
            cls="faint",
        )
    if vocabulary.num_let_go:
        yield element(
            "p",
            "There were more words or tokens than are counted at a time. Rare ones were"
            f" let go {vocabulary.num_let_go:,} times, after {vocabulary.most_let_go:,}"
            " texts at most; one that came again was counted anew.",
            cls="warning",
        )
    for kind, by_label in (("words", vocabulary.words), ("tokens", vocabulary.tokens)):
        found = [(label, rows) for label, rows in by_label.items() if rows]
        shown = sorted(found, key=lambda each: -max(x.num_texts for x in each[1]))
        names = {label for label, _ in shown[:_MAX_LABELS]}
        tables = [_table(kind, label, rows) for label, rows in found if label in names]
        if kind == "tokens":
            summary = element("summary", "The same for the vocabulary's tokens")
            yield element("details", summary, *tables)
        else:
            yield from tables


def shortcuts(findings: Findings) -> Iterator[Html]:
    """Yield the words that were tested by taking them away and putting them in."""
    found = findings.shortcuts
    if found is None:
        yield element(
            "p",
            "Not tested: that takes runs of the model, made at the end of diffmask"
            " audit unless --shortcut-words is 0.",
        )
        return
    if found.untested is not None:
        yield element("p", f"None was tested: {printable(found.untested)}.")
        return
    way = printable(found.way)
    yield element(
        "p",
        f"{len(found.words)} words, those that decide most and those that go with one"
        " class most whether they are kept or not, were tested with the model itself,"
        f" each on at most {found.texts_per_word} texts a way, drawn by a fixed rule."
        f" Removal: every place of the word is {way}; the share counts texts that lose"
        " their label. Insertion: the word is put in front of texts of other labels of"
        " which the model is sure (the surest quarter of a sample, where there are so"
        " many), from which its removal leads back; the share counts those that take"
        " its label, and the rise says how much probability moves to it. The only"
        " reason that a text gives flips it by its removal, and rightly so. A word"
        " that turns nearly every text that it is put into decides whatever else the"
        " text says: ask where it comes from. A word is marked as a suspect when the"
        f" interval of its share of insertions lies above {_SUSPECT:.0%}. Sufficiency:"
        " of texts that hold the word and have another label without it, the share"
        " that it turns to its own; 1 where there are none. A word against which many"
        " of its own texts go does not decide them, whatever it does where it is put"
        " in.",
    )
    rows = [
        [
            printable(each.deciding.name),
            _label(each),
            count(each.deciding.num_texts),
            figure(each.removal_flips, form=".0%", bar=True),
            figure(each.insertion_flips, form=".0%", bar=True),
            figure(each.insertion_rise, form="z.2f"),
            amount(each.sufficiency, form=".2f"),
            figure(each.removal_drop, form="z.2f"),
            figure(each.deciding.score, form=".2f"),
        ]
        for each in found.words
    ]
    yield table(
        [
            "word",
            "label",
            "texts",
            "removal flips",
            "insertion flips",
            "rise of probability",
            "sufficiency",
            "fall of probability",
            "score",
        ],
        rows,
        caption="Suspected shortcuts, strongest first: by the lower end of the"
        " interval of insertion's rise, times sufficiency",
        cls="sortable dense",
    )


def _label(word: Shortcut) -> Html:
    mark = [" ", element("span", "suspect", cls="suspect")] if _is_suspect(word) else []
    return element("td", printable(word.deciding.label), *mark)


def _is_suspect(word: Shortcut) -> bool:
    flips = word.insertion_flips
    return flips is not None and flips.low > _SUSPECT


def _table(kind: str, label: str, rows: tuple[Deciding, ...]) -> Html:
    return table(
        [
            kind[:-1],
            "texts",
            "kept, and class predicted",
            "over chance",
            "class predicted",
            "score",
        ],
        [
            [
                printable(each.name),
                count(each.num_texts),
                figure(each.deciding, bar=True),
                amount(each.excess),
                figure(each.predicted),
                figure(each.score, form=".3f"),
            ]
            for each in rows
        ],
        caption=f"{kind.capitalize()} that decide {printable(label)}: shares of the"
        f" texts with the {kind[:-1]}, 95 % intervals",
        cls="sortable searchable",
    )
