"""The documented examples of the earlier session systems, as programs: their functions and calls, our words.

Each has the functions, parameters and calls that are documented, in that order, so that what somebody wrote after
those documents runs when its imports are changed. What else differs is annotations and what a program says first.
"""
