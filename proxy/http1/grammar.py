"""The basic rules of HTTP/1.1 (RFC 9110 §5, RFC 9112) as pieces of patterns, and the error for breaking them.

Every quantifier is possessive: a pattern accepts a whole head or refuses it in one pass, whatever the input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
"""RFC 9110 §5.6.2."""

VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
"""A field value with the white space around it (RFC 9110 §5.5): no control but HTAB; 0x80-0xFF pass."""

SECTION = rb"(?:" + TOKEN + rb":" + VALUE + rb"\r\n)*+"
"""Any number of whole field lines: no white space before the colon, no folding, no bare CR or LF."""

SPACED_NAME = re.compile(rb"\r\n(" + TOKEN + rb")[ \t]++:")
"""White space before a field's colon: an answer is read without it, a request is refused (RFC 9112 §5.1)."""

HOPELESS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
"""What no head may contain: a control but HTAB, a bare CR or LF. An incomplete head that does is refused at once."""

MAX_LENGTH = 2**63 - 1
"""The largest Content-Length and chunk size; a larger one could overflow a server's 64-bit integer."""


class GrammarError(Exception):
    """Octets that are not HTTP/1.1. `str()` says which rule was broken and never quotes the octets.

    `before`: pieces of a body that came in the same octets, before the error.
    """

    before: Sequence[bytes] = ()
