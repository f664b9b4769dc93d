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


EDITS = {
    "a type that the route sets to a form": ({"set": {"Content-Type": FORM}}, "text/plain"),
    "a type that the route sets to no form": ({"set": {"content-type": "text/plain"}}, FORM),
    "a type that the route removes": ({"remove": ["Content-Type"]}, FORM),
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


@pytest.mark.parametrize(("headers", "app"), EDITS.values(), ids=EDITS)
async def test_whether_a_body_is_a_form_is_said_by_the_type_that_goes_out(upstream, tmp_path, fetch, headers, app):
    """§3.4.1.3.1 is about the request as sent, whatever the app called it."""
    async with Running(one_route(upstream.url, credential(), headers=headers), tmp_path) as running:
        status, *_ = await fetch(f"{running.url}/api/x", method="POST", data="a=1", headers={"Content-Type": app})
    assert status == 200
    (came,) = upstream.requests
    assert is_signed(came, upstream.url)


async def test_a_type_that_stays_here_makes_no_form_of_the_body(program, upstream, fetch):
    """What `Connection` nominates is not sent on, so the verifier does not see it (RFC 9110 §7.6.1)."""
    nominated = {"Content-Type": FORM, "Connection": "content-type"}
    assert (await fetch(f"{program.url}/api/x", method="POST", data="a=1", headers=nominated))[0] == 200
    (came,) = upstream.requests
    assert came.field(b"content-type") is None
    assert is_signed(came, upstream.url)
