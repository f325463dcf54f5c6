"""All that a report shows, out of one pass over the parts of an audit."""

from dataclasses import dataclass

from diffmask_service.audit.report.comparing import Comparison, compare
from diffmask_service.audit.report.groups import GroupCollector, Groups
from diffmask_service.audit.report.plausibility import (
    Plausibility,
    PlausibilityCollector,
)
from diffmask_service.audit.report.profiles import ProfileCollector, Profiles, Tagger
from diffmask_service.audit.report.reading import Audit, Explained, explained_texts
from diffmask_service.audit.report.shortcuts import Shortcuts, read_shortcuts
from diffmask_service.audit.report.vocabulary import Vocabulary, VocabularyCollector
from diffmask_service.audit.report.worst import WorstCollector


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What an audit found.

    Attributes:
        audit: The audit.
        groups: Kept shares and fidelity.
        profiles: Gates by kind of token.
        vocabulary: Words and tokens that decide each class.
        shortcuts: Words that were tested; None where they were not, or not yet.
        worst: The texts explained worst, the worst first.
        plausibility: Agreement with people; None without rationales.
        comparison: Beside another audit; None without one.
    """

    audit: Audit
    groups: Groups
    profiles: Profiles
    vocabulary: Vocabulary
    shortcuts: Shortcuts | None
    worst: tuple[Explained, ...]
    plausibility: Plausibility | None
    comparison: Comparison | None


def gather(
    audit: Audit,
    *,
    tagger: Tagger | None = None,
    against: Audit | None = None,
    num_candidates: int = 0,
) -> Findings:
    """Read an audit once, and once more beside another one.

    Memory is bounded: a few rows, the counts of words, and the texts that are shown.

    Args:
        audit: A finished audit.
        tagger: Names parts of speech; None for none.
        against: Another audit of the same data; None for none.
        num_candidates: Words that are to be tested for being shortcuts; with 0 the
            outcome of an earlier test is read.

    Raises:
        InvalidInput: A file cannot be read, or the audits are of different data.
    """
    comparison = None if against is None else compare(audit, against)
    groups, profiles = GroupCollector(audit), ProfileCollector(audit, tagger)
    vocabulary = VocabularyCollector(audit, num_candidates=num_candidates)
    worst = WorstCollector()
    plausibility = PlausibilityCollector(audit)
    for text in explained_texts(audit):
        for collector in (groups, profiles, vocabulary, worst, plausibility):
            collector.add(text)
    return Findings(
        audit=audit,
        groups=groups.figures(),
        profiles=profiles.figures(),
        vocabulary=vocabulary.figures(),
        shortcuts=None if num_candidates else read_shortcuts(audit),
        worst=worst.figures(),
        plausibility=plausibility.figures(),
        comparison=comparison,
    )
