from __future__ import annotations

import pytest

from proxy.errors import CredentialRefused
from proxy.model import Token
from proxy.tokens.sources.external import ExternalSource
from proxy.tokens.token_response import NOTHING, TokenPair


async def test_a_credential_that_lives_on_pushes_has_nothing_before_the_first():
    with pytest.raises(CredentialRefused, match="ever pushed"):
        await ExternalSource().fetch(NOTHING)


async def test_a_pushed_token_that_is_used_up_is_not_called_never_pushed():
    with pytest.raises(CredentialRefused, match="Only a push") as caught:
        await ExternalSource().fetch(TokenPair(Token(access_token="s3cret"), "s3cret"))
    assert "s3cret" not in str(caught.value)
