"""The state of a connection to an API: what the next octets are that come over it (`upstream.py`)."""

from __future__ import annotations

import enum


class Reading(enum.Enum):
    """One after the other, from IDLE to COMPLETE and on from IDLE; some are left out, and each may be the last."""

    CLOSED = "none: it is not connected yet, or not any more"
    IDLE = "nobody's: nobody has asked"
    SILENT = "the first of an answer"
    HEAD = "of its head, or of an interim one"
    LENGTH = "of a body whose length is known"
    CHUNKED = "of a body in chunks"
    UNTIL_CLOSE = "of a body that ends with the connection"
    COMPLETE = "nobody's: the answer is there, and whoever asked has not let go of the connection"
