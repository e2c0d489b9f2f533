"""What the connector reads of a message: its method and its id, and nothing that it would have to understand.

A line that cannot be read is not judged here; it is passed on, and the daemon says what is wrong with it.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from workroot.connector.lines import LongLine

    Key = tuple[type, int | str]

__all__ = ["INTERNAL_ERROR", "INVALID_REQUEST", "Message", "error_line", "read_long_line", "read_message"]

INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603

_CANCELLED = "notifications/cancelled"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
_ID_AT_THE_END = re.compile(rb',\s*"id"\s*:\s*(-?\d{1,20}|"(?:[^"\\]|\\.){0,256}")\s*\}\s*\Z')


class Message:
    """One line, and as much of it as was read.

    Attributes:
        line: the bytes, newline included.
        method: its method; None for a response and for what could not be read.
        request_id: its id, as JSON gives it.
        key: its id as a key, in which 1 and "1" differ; None if it has no usable id.
        cancels: the key of the request that it cancels, or None.
        acknowledges: the key of the `subscriptions/listen` that it acknowledges, or None.
        was_acknowledged: it is such a request, and its client has heard that it is served.
        is_response: it answers a request of the other side.
        succeeded: it is a response, and carries a result rather than an error.
    """

    __slots__ = (
        "acknowledges",
        "cancels",
        "is_response",
        "key",
        "line",
        "method",
        "request_id",
        "succeeded",
        "was_acknowledged",
    )

    def __init__(self, line: bytes, fields: dict[str, object]) -> None:
        method, request_id, params = fields.get("method"), fields.get("id"), fields.get("params")
        self.line = line
        self.method = method if isinstance(method, str) else None
        self.request_id = request_id
        self.key = _key(request_id)
        self.cancels = _key(params.get("requestId")) if method == _CANCELLED and isinstance(params, dict) else None
        meta = params.get("_meta") if method == _ACKNOWLEDGED and isinstance(params, dict) else None
        self.acknowledges = _key(meta.get(_SUBSCRIPTION_ID)) if isinstance(meta, dict) else None
        self.was_acknowledged = False
        self.succeeded = self.method is None and "result" in fields
        self.is_response = self.succeeded or (self.method is None and "error" in fields)


def read_message(line: bytes) -> Message:
    """Return what *line* is; one that is no JSON object is a message without method and id."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    return Message(line, fields if isinstance(fields, dict) else {})


def read_long_line(line: LongLine) -> Message:
    """Return what can be told of a line of which only both ends are left.

    The names at the top level are read from the head up to the first value that is cut off. An id may also
    stand last, as several clients write it: what ends `, "id": 7}` ends the outermost object.
    """
    fields = _read_head(line.head.decode(errors="replace"))
    if fields.get("id") is None and (found := _ID_AT_THE_END.search(line.tail)):
        fields["id"] = _parse_id(found[1])
    return Message(b"", fields)


def error_line(request_id: object, code: int, text: str, *, retry: bool = False) -> bytes:
    """Return a JSON-RPC error response as a line.

    Args:
        request_id: the id of the request that it answers; anything that is no id becomes null.
        code: JSON-RPC error code.
        text: what happened and what to do.
        retry: whether the same request may be sent again; told as `data.retry`.
    """
    error: dict[str, object] = {"code": code, "message": text}
    if retry:
        error["data"] = {"retry": True}
    answer = {"jsonrpc": "2.0", "id": request_id if _key(request_id) else None, "error": error}
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _key(request_id: object) -> Key | None:
    if isinstance(request_id, (int, str)) and not isinstance(request_id, bool):
        return type(request_id), request_id
    return None


def _parse_id(text: bytes) -> object:
    try:
        request_id: object = json.loads(text)
    except ValueError:
        return None
    return request_id


def _read_head(text: str) -> dict[str, object]:
    decoder = json.JSONDecoder()
    fields: dict[str, object] = {}
    end = _past(text, 0, "{")
    try:
        while end:
            name, end = decoder.raw_decode(text, _past(text, end, ""))
            if not isinstance(name, str) or not (end := _past(text, end, ":")):
                break
            fields[name] = None  # known to be there, even if its value is cut off
            value, end = decoder.raw_decode(text, _past(text, end, ""))
            if end == len(text):
                break  # a number may go on behind the cut
            fields[name], end = value, _past(text, end, ",")
    except (ValueError, RecursionError):
        pass  # the cut, or no JSON: what was read until here is what is known
    return fields


def _past(text: str, start: int, mark: str) -> int:
    """Return where *text* goes on after white space and *mark*, or 0 if *mark* is not there."""
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    return start + len(mark) if text.startswith(mark, start) else 0
