"""What a project's config file says, and how it is written."""

from workroot.project_config.parsing import MAX_CONFIG_BYTES, parse_config

__all__ = ["MAX_CONFIG_BYTES", "parse_config"]
