"""What one call of an attached server says about who calls, and from where: gathered here, decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workroot.client_profiles import traits_of
from workroot.core.meta_signs import conversation_of, meta_hints, meta_session
from workroot.core.signs import Roots, Signs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.core.sessions import Alias, Owner
    from workroot.core.signs import Hint

__all__ = ["CallFacts"]

_NO_ROOTS = Roots()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What a framework knows of one call.

    Attributes:
        owner: on whose behalf it comes.
        is_handshake: it came in the era of `initialize`; in the modern one a connection stands for nobody.
        session_id: the tool argument.
        directory: the tool argument.
        meta: the call's `_meta`.
        header_session: the header `Workroot-Session`, or None.
        hints: what the transport tells: over stdio the server's own surroundings, over HTTP headers and process.
        alias: the connection's own name, or None if it must not have a default session.
        client_name: `clientInfo.name`, or None.
        roots: the client's roots, if it was asked.
    """

    owner: Owner
    is_handshake: bool
    session_id: str | None = None
    directory: str | None = None
    meta: Mapping[str, object] = field(default_factory=dict)
    header_session: str | None = None
    hints: tuple[Hint, ...] = ()
    alias: Alias | None = None
    client_name: str | None = None
    roots: Roots = _NO_ROOTS

    def signs(self) -> Signs:
        """Return the signs that the decision rests on.

        Raises:
            SessionError: `_meta` names a session with what is no text.
        """
        traits = traits_of(self.client_name)
        return Signs(
            session_id=self.session_id,
            directory=self.directory,
            meta_session=meta_session(self.meta),
            header_session=self.header_session,
            conversation=conversation_of(self.meta, traits),
            alias=self.alias if self.is_handshake else None,
            hints=(*meta_hints(self.meta), *self.hints),
            roots=self.roots,
            traits=traits,
        )
