"""A token that lives only on pushes: there is nobody to ask. The update endpoint hands what it gets to the manager."""

from __future__ import annotations

from typing import NoReturn

from proxy.errors import CredentialRefused
from proxy.tokens.token_response import TokenPair


class ExternalSource:
    """Always refuses, and says what is missing."""

    async def fetch(self, previous: TokenPair) -> NoReturn:
        """Raise CredentialRefused: only a push helps."""
        if not previous:
            raise CredentialRefused("No token was ever pushed for this credential")
        raise CredentialRefused("Only a push brings another token: there is nobody to ask for one")
