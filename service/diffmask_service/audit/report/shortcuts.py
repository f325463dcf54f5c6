"""Suspected shortcuts: what came of words that were tried, and the file that holds it.

The only reason that a text gives flips it by its removal, rightly; a shortcut decides
whatever else a text says. So insertion ranks the words: by how much probability moves
to the word's label, as few texts flip in steps too coarse to tell words apart, and by
the lower end of its interval, which few texts keep low.

Texts that a word is put into are not of the kind that the model has learned, and there
any telling word may turn it. So insertion counts as far as the texts bear it out that
hold the word by nature: where many of them go against the word, it does not decide.
A shortcut that was learned has next to none of those.
"""

import json
from dataclasses import asdict, dataclass

import msgspec

from diffmask_service.audit.folder import write_whole
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.audit.report.reading import Audit
from diffmask_service.audit.report.vocabulary import Deciding
from diffmask_service.errors import InvalidInput

_FILE = "shortcuts.json"
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """What a word did when it was taken away and put in.

    Attributes:
        deciding: The word as the audit found it.
        removal_flips: Share of texts with the word that lose their label without it.
        removal_drop: By how much the probability of that label falls, mean, in [-1, 1].
        insertion_flips: Share of texts of other labels, of which the model is sure,
            that take the word's label when it stands in front.
        insertion_rise: By how much the probability of its label rises there, mean, in
            [-1, 1].
        sufficiency: Of texts that hold it and have another label without it, the share
            that it turns to its own, in (0, 1]; 1 where there are none.
    """

    deciding: Deciding
    removal_flips: Estimate | None
    removal_drop: Estimate | None
    insertion_flips: Estimate | None
    insertion_rise: Estimate | None
    sufficiency: float

    @property
    def strength(self) -> tuple[float, float]:
        """What ranks it: insertion as far as it is borne out, then removal.

        Each is taken by the lower end of its interval.
        """
        insertion, removal = self.insertion_rise, self.removal_drop
        return (
            0.0 if insertion is None else max(0.0, insertion.low) * self.sufficiency,
            -1.0 if removal is None else removal.low,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """The words that were tested.

    Attributes:
        way: How a word was taken away, in words.
        texts_per_word: Most texts a word and way.
        words: Strongest first.
        untested: Why there are none; None where there are.
    """

    way: str
    texts_per_word: int
    words: tuple[Shortcut, ...]
    untested: str | None = None


def write_shortcuts(audit: Audit, found: Shortcuts) -> None:
    """Write down what came of a test, beside the audit.

    Raises:
        InvalidInput: The file cannot be written.
    """
    content = json.dumps(
        {"format": _FORMAT, "model": audit.summary["model"], **asdict(found)}, indent=1
    )
    write_whole(audit.path, _FILE, content.encode() + b"\n")


def read_shortcuts(audit: Audit) -> Shortcuts | None:
    """Return what an earlier test wrote down; None where there was none.

    Raises:
        InvalidInput: The file is damaged.
    """
    path = audit.path / _FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Shortcuts)
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"{path}: is damaged ({error}); remove it, or run the audit's command again"
        ) from error
