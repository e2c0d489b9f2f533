"""The daemon as a service of the user's: what is written for systemd and launchd, and what is run.

Only files that carry our mark are replaced or removed, and nothing is run but the service manager's own program.
"""
