"""Changed directories become hints: somebody should look again.

No answer rests on a hint. It may be late, come twice, or tell of a change that matters to nobody.
"""

from workroot.watching.watcher import Watcher

__all__ = ["Watcher"]
