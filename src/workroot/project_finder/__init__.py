"""Looks at real directories and says which project owns them, as of now."""

from workroot.project_finder.finder import ProjectFinder
from workroot.project_finder.rules import rules_of_this_process

__all__ = ["ProjectFinder", "rules_of_this_process"]
