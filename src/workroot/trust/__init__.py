"""What the user has allowed projects to ask for."""

from workroot.trust.binding import subject_of
from workroot.trust.store import Judgement, TrustStore

__all__ = ["Judgement", "TrustStore", "subject_of"]
