"""A value in a query parameter, appended to the query, the rest of which is sent exactly as it came."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from proxy.auth.challenge import refused
from proxy.errors import ConfigurationError
from proxy.http1.target import with_parameter
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody


class QueryScheme:
    """`?name=token`, both percent-encoded. Raises ConfigurationError where there is no name."""

    writes: tuple[bytes, ...] = ()
    places: bool = True
    wants_body: WantsBody = "none"
    learns: bool = False
    constant: bool = True

    def __init__(self, name: str) -> None:
        if not name:
            raise ConfigurationError("a query parameter needs a name")
        self._name = name.encode()
        self.parameters: tuple[bytes, ...] = (self._name,)

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request with the parameter at the end of its query."""
        return structs.replace(request, target=with_parameter(request.target, self._name, token.access_token.encode()))

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """No header fields."""
        return []

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:  # noqa: ARG002 - the interface
        """RENEW if the credential was refused."""
        return Verdict.RENEW if refused(answer) else Verdict.PASS
