"""All that the daemon holds, as a file of JSON lines: written and read while it runs."""
