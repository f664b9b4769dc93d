"""Several secrets as one: user name and password, or what is joined and encoded. Each is followed by itself."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence

from proxy.errors import CredentialRefused
from proxy.tokens.secret import LiveSecret

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class PlainText:
    """What is no secret, in the place of one."""

    changes = 0

    def __init__(self, text: str) -> None:
        self._text = text

    def ready(self) -> str:
        """The text."""
        return self._text

    async def read(self, *, anew: bool = False) -> str:  # noqa: ARG002 - the interface
        """The text."""
        return self._text


class JoinedSecret:
    """`parts` as `join` puts them together, which raises CredentialRefused where it cannot."""

    def __init__(self, parts: Sequence[LiveSecret], join: Callable[[Sequence[str]], str]) -> None:
        self._parts = parts
        self._join = join

    @property
    def changes(self) -> int:
        """New values of any part."""
        return sum(part.changes for part in self._parts)

    def ready(self) -> str | None:
        """None where one of them must be waited for."""
        values = [part.ready() for part in self._parts]
        whole = [value for value in values if value is not None]
        return self._join(whole) if len(whole) == len(values) else None

    async def read(self, *, anew: bool = False) -> str:
        """All of them, one after the other."""
        return self._join([await part.read(anew=anew) for part in self._parts])


def as_base64(values: Sequence[str]) -> str:
    """The values with colons between them, in UTF-8, in base64."""
    return base64.b64encode(":".join(values).encode()).decode("ascii")


def as_login(values: Sequence[str]) -> str:
    """User name and password with a colon between them. Raises CredentialRefused for a name that Basic cannot carry."""
    username, password = values
    if ":" in username or _CONTROLS.search(username):
        raise CredentialRefused("A user name for Basic has no colon and no control characters (RFC 7617 §2)")
    return f"{username}:{password}"


def password_of(login: str) -> str:
    """What stands behind the first colon."""
    return login.partition(":")[2]
