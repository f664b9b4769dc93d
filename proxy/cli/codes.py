"""The exit codes of every command."""

GOOD = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
"""The running instance cannot be reached."""
NO_MATCH = 4
INVALID_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h."""
