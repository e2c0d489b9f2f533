"""What the user has allowed and denied, in one file of the state directory.

Every question looks at the file first, so `workroot trust` counts at once in a daemon that runs. A file that cannot
be used allows nothing; it is refused by name and left as it is, so that no decision gets lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from workroot.core.trust import (
    ConfigFile,
    Decision,
    TrustRecord,
    TrustSubject,
    Verdict,
    Withheld,
    allowing,
    denying,
    released,
    revoking,
    verdict,
    warning,
    withheld,
)
from workroot.errors import TrustError
from workroot.private_file import PrivateFile
from workroot.trust.binding import subject_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from workroot.core.projects import Place, ProjectConfig

__all__ = ["Judgement", "TrustStore"]

_MAX_RECORDS = 10_000
_MAX_FILE_BYTES = 8 * 1024 * 1024

_Text = Annotated[str, StringConstraints(max_length=8192)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    repository: _Text
    path: Annotated[_Text, StringConstraints(min_length=1)]
    digest: Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]
    decision: Decision
    at: Annotated[float, Field(allow_inf_nan=False)]


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    version: Literal[1] = 1
    records: Annotated[tuple[_Record, ...], Field(max_length=_MAX_RECORDS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What may be acted upon of a project's config.

    Attributes:
        config: without what is withheld.
        withheld: names what was taken out.
        warning: one line that says so and how to allow it, or None; to be shown wherever *config* is used.
    """

    verdict: Verdict
    config: ProjectConfig
    withheld: Withheld
    warning: str | None = None


class TrustStore:
    """The decisions of one user: 0600, replaced as a whole, changed by one process at a time.

    Args:
        path: of the file, which belongs into the state directory: never into a repository.
        clock: seconds since the Unix epoch.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._file = PrivateFile[tuple[TrustRecord, ...]](
            path, parse=self._parse, empty=(), error=TrustError, max_bytes=_MAX_FILE_BYTES, clock=clock
        )

    def records(self) -> tuple[TrustRecord, ...]:
        """Return every decision, oldest first.

        Raises:
            TrustError: the file cannot be used.
        """
        return self._file.load()

    def verdict(self, subject: TrustSubject) -> Verdict:
        """Return what the user's decisions say about *subject*, as of now.

        Raises:
            TrustError: the file cannot be used, so nothing is allowed.
        """
        return verdict(self._file.load(), subject)

    def judge(self, place: Place) -> Judgement | None:
        """Return what may be acted upon of the config found at *place*; None if no usable config was found.

        Never raises: with a file that cannot be used everything is withheld, and the warning says why.
        """
        project = place.project
        if project is None or project.config is None:
            return None
        config, decided, problem = project.config, Verdict.UNKNOWN, ""
        if withheld(config, decided):
            try:
                subject = subject_of(place)
                decided = self.verdict(subject) if subject is not None else decided
            except TrustError as error:
                problem = f"; {error}"
        held = withheld(config, decided)
        said = warning(held, decided, project.root)
        return Judgement(
            verdict=decided,
            config=released(config, decided),
            withheld=held,
            warning=f"{said}{problem}" if said is not None else None,
        )

    def allow(self, subject: TrustSubject) -> None:
        """Allow this very content of the file, beside those that are allowed already.

        Raises:
            TrustError: the file was denied, or the store is full or unusable; nothing was written.
        """
        with self._file.changing() as replace:
            records = self._file.load()
            if verdict(records, subject) is Verdict.DENIED:
                raise TrustError(
                    "this config was denied, and a denial holds until it is revoked (`workroot trust --revoke`)"
                )
            replace(self._encoded(allowing(records, subject, self._clock())))

    def deny(self, subject: TrustSubject) -> None:
        """Deny the file, whatever it holds now or later; what was allowed of it is forgotten.

        Raises:
            TrustError: the store is full or unusable; nothing was written.
        """
        with self._file.changing() as replace:
            replace(self._encoded(denying(self._file.load(), subject, self._clock())))

    def revoke(self, file: ConfigFile) -> int:
        """Forget every decision about *file*, and return how many there were; it will be asked about again.

        Raises:
            TrustError: the store is unusable; nothing was written.
        """
        with self._file.changing() as replace:
            records = self._file.load()
            remaining = revoking(records, file)
            if len(remaining) != len(records):
                replace(self._encoded(remaining))
        return len(records) - len(remaining)

    def _encoded(self, records: Sequence[TrustRecord]) -> bytes:
        if len(records) > _MAX_RECORDS:
            raise TrustError(
                f"{self._path} holds {_MAX_RECORDS} decisions, and no more fit; revoke some "
                f"(`workroot trust --list` shows them)"
            )
        try:
            content = _Content(records=tuple(_row_of(record) for record in records))
        except ValidationError:  # a path that is not Unicode, or longer than any system allows
            raise TrustError(f"this config's path cannot be kept in {self._path}") from None
        return content.model_dump_json(indent=1).encode() + b"\n"

    def _parse(self, content: bytes) -> tuple[TrustRecord, ...]:
        try:
            rows = _Content.model_validate_json(content, strict=True).records
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(str(part) for part in fault["loc"]) or "the file"
            raise TrustError(
                f"{self._path} cannot be understood ({field}: {fault['msg']}), so nothing is allowed; "
                f"correct it, or move it away and allow again what you need"
            ) from None
        return tuple(
            TrustRecord(
                subject=TrustSubject(file=ConfigFile(row.repository, row.path), digest=row.digest),
                decision=row.decision,
                at=row.at,
            )
            for row in rows
        )


def _row_of(record: TrustRecord) -> _Record:
    file = record.subject.file
    return _Record(
        repository=file.repository,
        path=file.path,
        digest=record.subject.digest,
        decision=record.decision,
        at=record.at,
    )
