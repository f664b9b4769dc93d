"""Error answers of the authorization server (RFC 6749 §5.2)."""

from __future__ import annotations


class Refusal(Exception):
    """One error answer: `error` is a registered code, `headers` go with it. `str()` is the description."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(description)
        self.error = error
        self.status = status
        self.headers = headers


def invalid_client(description: str, *, basic: bool = False) -> Refusal:
    """401, with a challenge where the client tried HTTP Basic (RFC 6749 §5.2)."""
    challenge = (("WWW-Authenticate", 'Basic realm="sandbox"'),) if basic else ()
    return Refusal("invalid_client", description, status=401, headers=challenge)
