"""What MCP clients see: tools, resources and subscriptions, in both protocol eras."""

from workroot.mcp_face.server import McpFace

__all__ = ["McpFace"]
