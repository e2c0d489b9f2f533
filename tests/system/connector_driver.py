"""Runs the connector as a process, with what a test passes in: `connector_driver.py JSON [OPTION...]`."""

from __future__ import annotations

import json
import sys

from workroot.connector import main, relay

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given["hello_seconds"] is not None:
        relay._HELLO_SECONDS = given["hello_seconds"]
    sys.exit(main(sys.argv[2:], **given["keywords"]))
