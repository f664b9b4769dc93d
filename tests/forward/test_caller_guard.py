from __future__ import annotations

import base64
import os

import pytest
from support.front import Gate, request

from proxy.auth.bearer import BearerScheme
from proxy.errors import CallerUnknown, RequestDenied
from proxy.forward.caller_guard import CallerGuard
from proxy.http1.request import RequestFields

SECRET = "phantom"


def fields_of(*lines: bytes) -> RequestFields:
    return RequestFields(1, b"\r\n" + b"".join(line + b"\r\n" for line in (b"Host: localhost", *lines)))


def check(
    callers: CallerGuard, authorization: bytes | None, uid: int | None = None, proxy: bytes | None = None
) -> bytes:
    """The lines that go on."""
    given = {b"Authorization": authorization, b"Proxy-Authorization": proxy}
    return callers.check(
        fields_of(*(name + b": " + value for name, value in given.items() if value is not None)), uid
    ).section


def test_a_bearer_is_taken_from_either_field_and_goes_no_further():
    callers = CallerGuard(lambda: SECRET, frozenset())
    assert check(callers, b"Bearer phantom") == b"\r\nHost: localhost\r\n"
    assert check(callers, b"bearer  phantom") == b"\r\nHost: localhost\r\n"
    other = check(callers, b"Bearer other", proxy=b"Bearer phantom")
    assert other == b"\r\nHost: localhost\r\nAuthorization: Bearer other\r\n"


@pytest.mark.parametrize(
    "wrong", [None, b"", b"Bearer", b"Bearer ", b"Bearer phanto", b"Basic phantom", b"phantom", b"Bearer \xff"]
)
@pytest.mark.parametrize("secret", [SECRET, ""])
def test_anything_else_is_401(wrong, secret):
    """An empty secret is nobody's."""
    with pytest.raises(CallerUnknown) as refused:
        check(CallerGuard(lambda: secret, frozenset()), wrong)
    assert dict(refused.value.headers)["WWW-Authenticate"].startswith("Bearer")


def test_two_authorizations_are_none():
    fields = fields_of(b"Authorization: Bearer phantom", b"Authorization: Bearer phantom")
    with pytest.raises(CallerUnknown):
        CallerGuard(lambda: SECRET, frozenset()).check(fields, None)


def test_the_bearer_is_the_one_of_now():
    now = ["one"]
    callers = CallerGuard(lambda: now[0], frozenset())
    check(callers, b"Bearer one")
    now[0] = "two"
    check(callers, b"Bearer two")
    with pytest.raises(CallerUnknown):
        check(callers, b"Bearer one")


@pytest.mark.parametrize("repeated", [True, False])
def test_what_is_cut_is_remembered_as_what_it_was_cut_from(repeated):
    fields = fields_of(b"Authorization: Bearer phantom")
    fields.repeated = repeated
    cut = CallerGuard(lambda: SECRET, frozenset()).check(fields, None)
    cut.note("route", b"\r\n")
    assert cut is not fields
    assert cut.outgoing == ({"route": b"\r\n"} if repeated else {})


def test_what_goes_on_of_the_same_fields_follows_the_bearer():
    """Fields that repeat themselves are remembered; what was cut from them for one secret is not what another asks."""
    now = ["one"]
    callers = CallerGuard(lambda: now[0], frozenset({7}))
    fields = fields_of(b"Authorization: Bearer one", b"Proxy-Authorization: Bearer two")
    assert callers.check(fields, 7) is callers.check(fields, 7)
    assert b"one" not in callers.check(fields, 7).section
    now[0] = "two"
    assert callers.check(fields, 7).found[b"authorization"] == [b"Bearer one"]
    now[0] = "three"
    assert callers.check(fields, 7) is fields


def test_users_of_a_unix_socket_are_known_by_their_number():
    callers = CallerGuard(None, frozenset({1000}))
    check(callers, None, uid=1000)
    with pytest.raises(RequestDenied):
        check(callers, None, uid=1001)
    both = CallerGuard(lambda: SECRET, frozenset({1000}))
    check(both, None, uid=1000)
    assert b"phantom" not in check(both, b"Bearer phantom", uid=1000)
    with pytest.raises(CallerUnknown):
        check(both, None, uid=None)


@pytest.mark.parametrize("callers", [CallerGuard(None, frozenset({1000})), CallerGuard(None, frozenset())])
def test_a_guard_that_cannot_be_asked_lets_nobody_in(callers):
    with pytest.raises(RequestDenied):
        check(callers, b"Bearer phantom", uid=None)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


CARRIERS = [
    "Authorization: Bearer phantom",
    "authorization: bearer phantom",
    "AUTHORIZATION:BEARER  \tphantom  ",
    "Authorization: Token phantom",
    "Authorization: phantom",
    "Authorization: Bearer mine, Bearer phantom",
    'Authorization: Digest username="u", response="phantom"',
    "Authorization: " + basic("user:phantom"),
    "Authorization: " + basic("phantom:").rstrip("="),
    "Proxy_Authorization: Bearer phantom",
    "proxy_authorization: Bearer phantom",
    "Proxy-Authorization: Bearer phantom",
    "X-Authorization: Bearer phantom",
    "X-Forwarded-Authorization: Bearer phantom",
    "X-Api-Key: phantom",
    "Cookie: a=b; session=phantom",
    'Cookie: session="phantom"',
    'X-Context: {"auth":"phantom"}',
    "Referer: http://localhost:8080/crm?access_token=phantom&x=1",
]
ROUTES = {
    "replace": {},
    "keep": {"on_client_authorization": "keep"},
    "reject": {"on_client_authorization": "reject"},
}


@pytest.mark.parametrize("shown", ["Authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("route", [*ROUTES, "pass through"])
@pytest.mark.parametrize("scheme", [BearerScheme(), BearerScheme("X-Token", "")], ids=["bearer", "another field"])
async def test_a_callers_bearer_never_reaches_the_upstream_in_whatever_line_it_stands(upstream, shown, route, scheme):
    given = {"route": ROUTES.get(route, {}), "credential": route != "pass through", "scheme": scheme}
    gate = Gate(upstream.url, callers=CallerGuard(lambda: SECRET, frozenset()), **given)
    lines = [line for line in CARRIERS if line.partition(":")[0].lower() != shown.lower()]
    async with gate, gate.client() as client:
        assert (await client.ask(request())).status == 401
        for carrier in lines:
            for _ in range(3):  # also when the head is remembered
                answer = await client.ask(request("GET", "/crm", f"{shown}: Bearer phantom", "X-App: mine", carrier))
                assert answer.status == 200, carrier
        everything = await client.ask(request("GET", "/crm", f"{shown}: Bearer phantom", *lines, "Accept: x/y"))
        assert everything.status == 200
    for one in upstream.requests:
        assert b"phantom" not in one.head
        assert basic("user:phantom").encode() not in one.head
    assert [one.field(b"x-app") for one in upstream.requests[:-1]] == [b"mine"] * 3 * len(lines)
    assert upstream.requests[-1].field(b"accept") == b"x/y"
    if route == "pass through":
        assert not any(one.all(b"authorization") for one in upstream.requests)


@pytest.mark.parametrize(
    ("secret", "line"),
    [
        ("phantom", "Cookie: authorization=Bearer%20phantom"),
        ("phantom", "Cookie: authorization=%22phantom%22; a=b"),
        ("phantom", "Referer: http://localhost/?next=%2Fcb%3Ftoken%3Dphantom%26x"),
        ("a+b/c==", "Cookie: t=a%2Bb%2Fc%3D%3D"),
        ("a+b/c==", "Cookie: t=Bearer%20a%2bb%2fc%3d%3D"),
        ("a+b/c==", "Cookie: t=a+b%2Fc=%3D"),
        ("a+b/c==", "X-Key: a+b/c=="),
        ("a b a", "X-Key: xa b a b a"),
        ("schl\u00fcssel", "Cookie: t=schl%C3%BCssel"),
    ],
)
def test_the_bearer_is_known_in_a_line_that_escapes_it(secret, line):
    fields = fields_of(b"Proxy-Authorization: Bearer " + secret.encode(), line.encode(), b"X-App: mine")
    cut = CallerGuard(lambda: secret, frozenset()).check(fields, None)
    assert cut.section == b"\r\nHost: localhost\r\nX-App: mine\r\n"


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer phantom2",
        "Authorization: Bearer xphantom",
        "Authorization: Bearer phantom.a.b",
        "Authorization: Bearer phantom==",
        "Authorization: Bearer Phantom",
        "Authorization: " + basic("phantom2:x"),
        "Authorization: Basic phantom",
        "Authorization: Basic !!!",
        "Cookie: a=x%2phantom",
        "User-Agent: phantom-of-the-opera",
        "Cookie: phantoms=1",
    ],
)
async def test_what_only_resembles_the_bearer_goes_on(upstream, line):
    gate = Gate(upstream.url, credential=False, callers=CallerGuard(lambda: SECRET, frozenset()))
    octets = request("GET", "/crm", "Proxy-Authorization: Bearer phantom", line)
    async with gate:
        assert (await gate.ask(octets)).status == 200
    went_on = line != "Authorization: Basic phantom"  # a secret is one, whatever word stands before it
    assert (line.encode() in upstream.requests[0].head) is went_on


@pytest.mark.parametrize(
    "secret", ["localhost", "3", "chunked", "application/json", "100-continue", "a b", "(x)+", "ü"]
)
async def test_a_secret_that_is_also_an_ordinary_word_leaves_the_message_whole(upstream, secret):
    gate = Gate(upstream.url, callers=CallerGuard(lambda: secret, frozenset()))
    lines = (f"Authorization: Bearer {secret}".encode().decode("latin-1"), "Content-Type: application/json")
    async with gate:
        answer = await gate.ask(request("POST", "/crm", *lines, body=b"abc"))
    assert answer.status == 200
    (one,) = upstream.requests
    assert one.field(b"content-type") == b"application/json"
    assert one.body == b"abc"
    assert one.all(b"authorization") == [b"Bearer t0ken"]


async def test_reject_means_another_authorization_than_ours(upstream):
    route = {"on_client_authorization": "reject"}
    async with Gate(upstream.url, route=route, callers=CallerGuard(lambda: SECRET, frozenset())) as gate:
        ours = "Proxy-Authorization: Bearer phantom"
        assert (await gate.ask(request("GET", "/crm", ours, "Authorization: Bearer mine"))).status == 403
        assert (await gate.ask(request("GET", "/crm", ours, "Authorization: Bearer phantom"))).status == 200


async def test_keep_keeps_the_apps_own_beside_ours(upstream):
    route = {"on_client_authorization": "keep"}
    async with Gate(upstream.url, route=route, callers=CallerGuard(lambda: SECRET, frozenset())) as gate:
        ours = "Proxy-Authorization: Bearer phantom"
        await gate.ask(request("GET", "/crm", ours, "Authorization: Bearer mine"))
        await gate.ask(request("GET", "/crm", ours, "Authorization: Bearer phantom", "Authorization: Bearer mine"))
        await gate.ask(request("GET", "/crm", "Authorization: Bearer phantom"))
    assert [one.all(b"authorization") for one in upstream.requests] == [
        [b"Bearer mine"],
        [b"Bearer mine"],
        [b"Bearer t0ken"],
    ]


async def test_trailers_carry_it_no_further_either(upstream):
    trailers = b"X-Sum: 1\r\nX-Token: phantom\r\nProxy_Authorization: Bearer phantom\r\nX-Other: phantoms\r\n"
    head = request("POST", "/crm", "Authorization: Bearer phantom", "Transfer-Encoding: chunked")
    async with Gate(upstream.url, credential=False, callers=CallerGuard(lambda: SECRET, frozenset())) as gate:
        assert (await gate.ask(head + b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")).status == 200
    (one,) = upstream.requests
    assert bytes(one.raw_body) == b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: phantoms\r\n\r\n"


@pytest.mark.parametrize("ours", [True, False])
async def test_a_unix_socket_lets_in_the_users_that_are_named(upstream, tmp_path, ours):
    uid = os.getuid() if ours else os.getuid() + 1
    path = str(tmp_path / "socket")
    async with Gate(upstream.url, address=f"unix:{path}", callers=CallerGuard(None, frozenset({uid}))) as gate:
        assert (await gate.ask(request())).status == (200 if ours else 403)


async def test_a_named_user_who_shows_the_bearer_too_shows_it_to_us_alone(upstream, tmp_path):
    callers = CallerGuard(lambda: SECRET, frozenset({os.getuid()}))
    async with Gate(upstream.url, address=f"unix:{tmp_path}/s", callers=callers, credential=False) as gate:
        assert (await gate.ask(request("GET", "/crm", "X-Key: phantom", "Authorization: Bearer phantom"))).status == 200
    assert b"phantom" not in upstream.requests[0].head
