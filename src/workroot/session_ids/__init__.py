"""Session ids: made so that nobody can guess them, looked at for their form, and described for people."""

from __future__ import annotations

from workroot.session_ids.forms import (
    LEAST_BITS,
    LONGEST_ID,
    CustomFormat,
    ProtocolType,
    generate_secure_session_id,
    validate_session_id_format,
)
from workroot.session_ids.strength import StrengthReport, analyze_session_id_strength, estimate_entropy

__all__ = [
    "LEAST_BITS",
    "LONGEST_ID",
    "CustomFormat",
    "ProtocolType",
    "StrengthReport",
    "analyze_session_id_strength",
    "estimate_entropy",
    "generate_secure_session_id",
    "validate_session_id_format",
]
