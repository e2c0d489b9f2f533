"""Values as JSON, for exactly the types that cross between the daemon and programs that embed workroot.

Each type has one `Codec`, written out field by field. Reading is strict and total: whatever was decoded from a line
becomes the value, or an error that says where it is wrong. Fields that are not known here are passed over, and those
that are left out have their defaults, so that neighbouring versions understand each other.
"""

from __future__ import annotations
