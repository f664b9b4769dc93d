"""How a look-up carries the token of a credential."""

from __future__ import annotations

import pytest
from support.clock import FakeClock
from support.front import ScriptedTokens

from proxy.assembly.directory_login import DirectoryLogin
from proxy.auth.bearer import BearerScheme
from proxy.auth.cookie import CookieScheme
from proxy.auth.query import QueryScheme
from proxy.errors import CredentialRefused
from proxy.tokens.credential import Credential

URL = "https://d.example/tenants?a=%zz"


def login(scheme, tokens):
    return DirectoryLogin("c", lambda _: Credential("c", "oauth2", scheme, tokens=tokens), FakeClock())


@pytest.mark.parametrize(
    ("scheme", "url", "fields"),
    [
        (BearerScheme(), URL, [("Authorization", "Bearer t")]),
        (QueryScheme("key"), f"{URL}&key=t", []),
        (CookieScheme("sid"), URL, [("Cookie", "sid=t")]),
    ],
)
async def test_the_token_stands_where_a_request_would_have_it(scheme, url, fields):
    signed = await login(scheme, ScriptedTokens("t")).signed(URL)
    assert signed[:2] == (url, fields)


async def test_a_refused_token_is_renewed():
    tokens = ScriptedTokens("t", "u")
    one = login(BearerScheme(), tokens)
    _, _, token = await one.signed("https://d.example")
    url, fields, _ = await one.signed("https://d.example", token)
    assert (url, fields) == ("https://d.example/", [("Authorization", "Bearer u")])
    assert tokens.refused == ["t"]


async def test_a_credential_of_many_tokens_has_none_for_a_look_up():
    with pytest.raises(CredentialRefused, match="a token per request"):
        await login(BearerScheme(), None).signed(URL)
