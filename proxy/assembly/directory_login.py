"""How a look-up of an upstream carries the token of a credential, as a route's requests carry theirs."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from proxy.clock import Clock
from proxy.errors import CredentialRefused
from proxy.http1.fields import lines_of, pairs
from proxy.model import Moment, Request, Token
from proxy.tokens.credential import Credential

_NO_LINES = b"\r\n"


class DirectoryLogin:
    """Signs look-ups with the credential of this name, as it is configured when it is asked."""

    def __init__(self, name: str, credential_of: Callable[[str], Credential], clock: Clock) -> None:
        self._name = name
        self._credential_of = credential_of
        self._clock = clock

    async def signed(self, url: str, refused: Token | None = None) -> tuple[str, list[tuple[str, str]], Token]:
        """The URL and the fields of a GET, and the token in them: another one than what was `refused`.

        Raises CredentialError.
        """
        credential = self._credential_of(self._name)
        tokens = credential.tokens
        if tokens is None:
            raise CredentialRefused(f"The credential {self._name} has a token per request, and none for a look-up")
        token = await tokens.current() if refused is None else await tokens.renew(refused)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        asked = Request(b"GET", parts.scheme, parts.netloc.encode("ascii"), target.encode("ascii"), section=_NO_LINES)
        moment = Moment(self._clock.wall(), self._clock.octets)
        request = credential.scheme.place(asked, token, moment) if credential.scheme.places else asked
        fields = [*pairs(lines_of(request.section)), *credential.scheme.sign(request, token, moment)]
        signed = f"{parts.scheme}://{parts.netloc}{request.target.decode('ascii')}"
        return signed, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields], token
