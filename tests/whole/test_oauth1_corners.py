"""OAuth 1 requests that other signers get wrong, each verified by oauthlib's server side and by RFC 5849 alone."""

from __future__ import annotations

import pytest
from support.oauth1 import FORM, OauthlibServer, credential, is_signed
from support.running import Running
from support.settings import one_route

CORNERS = {
    "a plus is a space": ("q=a+b&c=%2B", ""),
    "an encoded name": ("a%5Bb%5D=1&%C3%BC=2&x%20y=3", ""),
    "a name in query and form": ("a=2&b=1", "a=1&a=3"),
    "a duplicate after an empty value": ("a=&a=1&a=", ""),
    "a duplicate after an empty value, in a form": ("q=1", "a=&a=1&b"),
    "names that are beginnings of others": ("ab=1&a=2&a%2Db=3&a=", "aB=1"),
    "letters after and before encoded ones": ("z=1&%7A=0&Z=1", ""),
}


@pytest.fixture
async def program(upstream, tmp_path):
    async with Running(one_route(upstream.url, credential()), tmp_path) as running:
        yield running


@pytest.mark.parametrize(("query", "form"), CORNERS.values(), ids=CORNERS)
async def test_what_another_signer_gets_wrong_is_verified_here(program, upstream, fetch, query, form):
    """E3 and E11."""
    how = {"method": "POST", "data": form, "headers": {"Content-Type": FORM}} if form else {}
    assert (await fetch(f"{program.url}/api/x?{query}", **how))[0] == 200
    (came,) = upstream.requests
    assert came.target == f"/x?{query}".encode()
    assert is_signed(came, upstream.url)
    assert OauthlibServer().accepts(came, upstream.url)
