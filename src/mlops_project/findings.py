"""Findings: what a table or a model shows that people must know, each with a stable code, a reason and a cure.

``docs/checks.md`` has a section for every code. A finding that is right as it stands is accepted, with a reason, in the
configuration: ``checks.accept``.
"""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from mlops_project.formats import plain

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")
CODES = frozenset(
    {
        "categories-cut",
        "changed-labels-contradict",
        "class-not-held-out",
        "constant",
        "constant-in-training",
        "contradictory-rows",
        "copies-across-split",
        "copy-of-column",
        "drift-between-parts",
        "faulty-data",
        "few-held-out-rows",
        "few-labels-of-class",
        "few-rows-for-columns",
        "free-text",
        "huge-values",
        "identifier",
        "imbalanced-target",
        "infinite-values",
        "label-noise",
        "label-spellings",
        "labels-of-one-class",
        "labels-repeat-answers",
        "leak-code",
        "leak-copy",
        "leak-date",
        "leak-encoded",
        "leak-future",
        "leak-missing",
        "leak-monotone",
        "leak-pair",
        "leak-parts",
        "leak-row-order",
        "leak-text",
        "leak-threshold",
        "linear-is-better",
        "mark-for-missing",
        "misleading-probabilities",
        "missing-target",
        "mostly-missing",
        "near-copies-of-held-out",
        "nearly-constant",
        "new-rows-contradict",
        "no-values",
        "not-better-than-base-rate",
        "one-region-contradicts",
        "one-source-contradicts",
        "overfitting",
        "rare-class",
        "rare-classes",
        "recoded-column",
        "repeated-entity",
        "repeated-identifier",
        "rows-repeated",
        "search-at-edge",
        "selective-labels",
        "split-changed",
        "table-changed",
        "target-drift",
        "threshold-trivial",
        "time-order",
        "too-good",
        "unequal-calibration",
        "unequal-errors",
        "unit-changed",
        "unstable-importance",
        "unused-acceptance",
        "values-far-out-of-range",
        "weak-in-part",
        "worse-in-part",
        "worse-than-base-rate",
    }
)  # of every finding that there is, in the order of the alphabet
MAX_COLUMNS = 20  # that a finding lists where several were joined; its text says how many there are
MAX_ALIKE = 5  # findings of one kind that are listed one by one


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found.

    Attributes
    ----------
    code
        Stable name of the kind, such as ``copies-across-split``: lower case, words joined by hyphens.
    columns
        The columns that it is about, if any.
    seen
        What was seen, with numbers and rows. A clause without a full stop; it begins in lower case.
    why
        Why it matters. A clause of the same form.
    cure
        What to do. A clause of the same form.
    severity
        ``error`` stops the training unless it is accepted; ``warning`` and ``note`` do not.
    accepted
        The reason that the configuration gives for leaving it so; empty if it is not accepted.
    """

    code: str
    seen: str
    why: str
    cure: str
    columns: tuple[str, ...] = ()
    severity: Severity = "warning"
    accepted: str = ""

    @property
    def blocks(self) -> bool:
        """Whether it stops the training."""
        return self.severity == "error" and not self.accepted

    @property
    def sentence(self) -> str:
        """What was seen, why it matters and what to do, on one line that is safe to print."""
        parts = (self.seen, self.why, f"accepted: {self.accepted}" if self.accepted else self.cure)
        return plain("; ".join(" ".join(part.split()) for part in parts if part))


def accept(findings: Iterable[Finding], reasons: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return findings, the gravest first, each with the reason that the configuration gives for it; texts are safe to print.

    Parameters
    ----------
    findings
        What was found.
    reasons
        ``checks.accept``: ``code`` → reason for every finding of that kind, or ``code:column`` → reason for those that are
        about that column alone. A finding about several columns needs all of them, or the code.
    """
    marked = [_clean(finding, finding.accepted or _find_reason(finding, reasons)) for finding in findings]
    return tuple(sorted(marked, key=lambda finding: (bool(finding.accepted), ORDER.index(finding.severity))))


def _clean(finding: Finding, accepted: str) -> Finding:
    seen, why, cure = (plain(" ".join(text.split())) for text in (finding.seen, finding.why, finding.cure))
    columns = tuple(map(plain, finding.columns))
    return msgspec.structs.replace(finding, seen=seen, why=why, cure=cure, columns=columns, accepted=plain(accepted))


def accept_all(findings: Iterable[Finding], reasons: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return what ``accept`` does for everything that training found, and a note about reasons for what was not found."""
    found = accept(findings, reasons)
    codes = dict.fromkeys(finding.code for finding in found)
    unused = [key for key in reasons if key.partition(":")[0] not in codes]
    if not unused:
        return found
    note = Finding(
        code="unused-acceptance",
        seen=f"checks.accept names {', '.join(map(repr, unused))}, and nothing of that kind was found",
        why="a code that is misspelled accepts nothing, and one that is no longer needed may hide the next case",
        cure=f"take it out, or mend it; found were: {', '.join(codes) or 'none'}",
        severity="note",
    )
    return accept([*found, note], reasons)


def _find_reason(finding: Finding, reasons: Mapping[str, str]) -> str:
    if finding.code in reasons:
        return reasons[finding.code]
    named = [reasons.get(f"{finding.code}:{column}", "") for column in finding.columns]
    return "; ".join(dict.fromkeys(named)) if named and all(named) else ""


def summarise(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings where more than ``MAX_ALIKE`` of one kind are joined to one, in the order of the first of each kind."""
    kinds: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.code, finding.severity, finding.accepted), []).append(finding)
    return tuple(finding for alike in kinds.values() for finding in (alike if len(alike) <= MAX_ALIKE else [_join(alike)]))


def _join(alike: list[Finding]) -> Finding:
    columns = tuple(dict.fromkeys(column for finding in alike for column in finding.columns))
    first = ", ".join(finding.seen for finding in alike[:3])
    seen = f"{len(alike)} times: {first}, …"
    return msgspec.structs.replace(alike[0], columns=columns[:MAX_COLUMNS], seen=seen)


def format_finding(finding: Finding, width: int = 0) -> list[str]:
    """Return ``warning [code]: seen; why; cure`` as lines.

    Parameters
    ----------
    width
        Columns of the terminal; 0 leaves everything on one line.
    """
    kind = "accepted" if finding.accepted else finding.severity
    text = f"{kind} [{finding.code}]: {finding.sentence}"
    if not width:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
