"""What the keys of a sandbox's sessions look like in a store of artifacts."""

from __future__ import annotations

from workroot import grid_paths

__all__ = ["GridKeys"]


class GridKeys:
    """The names under which a sandbox's sessions keep artifacts; see `workroot.grid_paths`.

    Args:
        sandbox_id: the tenant.
    """

    def __init__(self, sandbox_id: str) -> None:
        self.sandbox_id = sandbox_id

    def get_canonical_prefix(self, session_id: str) -> str:
        """Return what the keys of a session's artifacts begin with."""
        return grid_paths.get_canonical_prefix(session_id, sandbox=self.sandbox_id)

    def generate_artifact_key(self, session_id: str, artifact_id: str, subpath: str | None = None) -> str:
        """Return the key of a session's artifact, or of what is within it at *subpath*, its parts separated by `/`."""
        return grid_paths.generate_artifact_key(session_id, artifact_id, subpath, sandbox=self.sandbox_id)

    def parse_grid_key(self, grid_key: str) -> grid_paths.GridKey | None:
        """Return what a key names, None if it is none."""
        return grid_paths.parse_grid_key(grid_key)

    def get_session_prefix_pattern(self) -> str:
        """Return what the keys of all sessions of this sandbox begin with."""
        return grid_paths.get_session_prefix_pattern(sandbox=self.sandbox_id)
