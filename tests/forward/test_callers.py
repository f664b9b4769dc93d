from __future__ import annotations

import os

import pytest
from support.front import Gate, request

from proxy.errors import CallerUnknown, RequestDenied
from proxy.forward.callers import Callers

SECRET = "phantom"


def check(callers: Callers, authorization: bytes | None, uid: int | None = None, proxy: bytes | None = None) -> bool:
    found = {}
    if authorization is not None:
        found[b"authorization"] = [authorization]
    if proxy is not None:
        found[b"proxy-authorization"] = [proxy]
    return callers.check(found, uid)


def test_a_bearer_is_taken_from_either_field_and_only_authorization_is_spent():
    callers = Callers(lambda: SECRET, frozenset())
    assert check(callers, b"Bearer phantom")
    assert check(callers, b"bearer  phantom")
    assert not check(callers, b"Bearer other", proxy=b"Bearer phantom")


@pytest.mark.parametrize(
    "wrong", [None, b"", b"Bearer", b"Bearer ", b"Bearer phanto", b"Basic phantom", b"phantom", b"Bearer \xff"]
)
def test_anything_else_is_401(wrong):
    with pytest.raises(CallerUnknown) as refused:
        check(Callers(lambda: SECRET, frozenset()), wrong)
    assert dict(refused.value.headers)["WWW-Authenticate"].startswith("Bearer")


def test_two_authorizations_are_none():
    with pytest.raises(CallerUnknown):
        Callers(lambda: SECRET, frozenset()).check({b"authorization": [b"Bearer phantom", b"Bearer phantom"]}, None)


def test_the_bearer_is_the_one_of_now():
    now = ["one"]
    callers = Callers(lambda: now[0], frozenset())
    check(callers, b"Bearer one")
    now[0] = "two"
    check(callers, b"Bearer two")
    with pytest.raises(CallerUnknown):
        check(callers, b"Bearer one")


def test_users_of_a_unix_socket_are_known_by_their_number():
    callers = Callers(None, frozenset({1000}))
    assert not check(callers, None, uid=1000)
    with pytest.raises(RequestDenied):
        check(callers, None, uid=1001)
    both = Callers(lambda: SECRET, frozenset({1000}))
    assert not check(both, None, uid=1000)
    assert check(both, b"Bearer phantom", uid=1000)
    with pytest.raises(CallerUnknown):
        check(both, None, uid=None)


async def test_a_callers_bearer_never_reaches_the_upstream(upstream):
    gate = Gate(upstream.url, credential=False, callers=Callers(lambda: SECRET, frozenset()))
    async with gate:
        denied = await gate.ask(request())
        assert denied.status == 401
        assert denied.field(b"www-authenticate") == b'Bearer realm="auth-sidecar"'
        assert (await gate.ask(request("GET", "/crm", "Authorization: Bearer phantom"))).status == 200
        kept = request("GET", "/crm", "Proxy-Authorization: Bearer phantom", "Authorization: mine")
        assert (await gate.ask(kept)).status == 200
    first, second = upstream.requests
    assert b"phantom" not in first.head + second.head
    assert first.field(b"authorization") is None
    assert second.field(b"authorization") == b"mine"


@pytest.mark.parametrize("ours", [True, False])
async def test_a_unix_socket_lets_in_the_users_that_are_named(upstream, tmp_path, ours):
    uid = os.getuid() if ours else os.getuid() + 1
    path = str(tmp_path / "socket")
    async with Gate(upstream.url, address=f"unix:{path}", callers=Callers(None, frozenset({uid}))) as gate:
        assert (await gate.ask(request())).status == (200 if ours else 403)
