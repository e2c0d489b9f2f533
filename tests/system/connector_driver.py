"""Runs the connector as a process, with what a test passes in: `connector_driver.py KEYWORDS [OPTION...]`."""

from __future__ import annotations

import json
import sys

from workroot.connector import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], **json.loads(sys.argv[1])))
