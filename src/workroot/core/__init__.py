"""The domain as plain code: no I/O, no clock, no event loop, no framework."""
