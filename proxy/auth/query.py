"""A value in a query parameter, appended last: the rest of the query goes out exactly as the app sent it."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.auth.challenge import refused
from proxy.errors import ConfigurationError
from proxy.http1.target import with_parameter
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody


class QueryScheme:
    """`?name=token`, both percent-encoded. Raises ConfigurationError where there is no name."""

    writes: tuple[bytes, ...] = ()
    wants_body: WantsBody = "none"
    learns: bool = False
    constant: bool = True

    def __init__(self, name: str) -> None:
        if not name:
            raise ConfigurationError("a query parameter needs a name")
        self.parameter: bytes | None = name.encode()
        self._name = name.encode()

    def place(self, target: bytes, token: Token) -> bytes:
        """The target with the parameter at its end."""
        return with_parameter(target, self._name, token.access_token.encode())

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """Nothing in the head."""
        return []

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:  # noqa: ARG002 - the interface
        """RENEW where the credential was refused."""
        return Verdict.RENEW if refused(answer) else Verdict.PASS
