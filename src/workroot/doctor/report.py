"""What all checks found, as one document for programs and as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workroot import __version__
from workroot.doctor.findings import Finding, State, Text, plain

__all__ = ["Report"]

_FORM = 1
_WORST_FIRST: tuple[State, ...] = ("problem", "warning", "note", "ok")
_STATE_WIDTH = 7


@dataclass(frozen=True, slots=True)
class Report:
    """The findings in the order of the checks.

    Attributes:
        findings: at least one.
        redacted: what a text is for others to read; None: the report is for its user only.
    """

    findings: Sequence[Finding]
    redacted: Callable[[Text], str] | None = None

    @property
    def state(self) -> State:
        """The worst of all."""
        states = {finding.found.state for finding in self.findings}
        return next((state for state in _WORST_FIRST if state in states), "ok")

    def document(self) -> dict[str, object]:
        """Return it for programs. Fields are only ever added to this form."""
        return {
            "report": _FORM,
            "version": __version__,
            "redacted": self.redacted is not None,
            "state": self.state,
            "findings": [
                {
                    "check": finding.id,
                    "title": finding.title,
                    "state": finding.found.state,
                    "seen": self._said(finding.found.seen),
                    "cure": self._said(finding.found.cure) or None,
                }
                for finding in self.findings
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        width = max((len(finding.title) for finding in self.findings), default=0)
        for finding in self.findings:
            found = finding.found
            yield f"{found.state:<{_STATE_WIDTH}}  {finding.title:<{width}}  {self._said(found.seen)}"
            if found.cure:
                yield f"{'':{_STATE_WIDTH}}  {'':{width}}  -> {self._said(found.cure)}"
        yield ""
        counted = Counter(finding.found.state for finding in self.findings)
        counts = [
            f"{counted[state]} {state}{'' if counted[state] == 1 else 's'}"
            for state in _WORST_FIRST[:3]
            if counted[state]
        ]
        yield ", ".join(counts) if counts else "all is well"

    def _said(self, text: Text) -> str:
        return plain(text) if self.redacted is None else self.redacted(text)
