"""workroot in a server of somebody else's: `workroot.attach(app)`, and what its tools and requests get by that.

What is independent of the framework (`attachment`, `keeper`, `stores`, `peers`, `facts`) knows the SDK's messages only;
`attach` is for the SDK's `MCPServer`, `fastmcp` for FastMCP 4.
"""
