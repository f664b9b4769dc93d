"""One token for each caller or tenant: nobody gets another's, there is a bound, and nobody is named anywhere."""

from __future__ import annotations

import asyncio
import time

import jwt as pyjwt
import pytest
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
REFUSED = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n'
TENANTS = ["tenant-quail", "tenant-heron", "tenant-egret", "tenant-robin", "tenant-finch"]


@pytest.fixture
async def issuer():
    async with scripted_issuer() as running:
        yield running


@pytest.fixture
def tenants(issuer, upstream, tmp_path):
    """A program whose tokens are for the tenant that a request names."""
    credential = client_credentials(
        f"{issuer.url}/token",
        per={"header": "X-Tenant", "pattern": "[a-z0-9-]{1,64}", "max": 3},
        token_parameters={"tenant": "{per}"},
    )
    config = {
        **one_route(upstream.url, credential),
        "log": {"level": "debug", "access": "all"},
        "store": {"type": "file", "path": "tokens"},
    }
    return Program(config, tmp_path)


@pytest.fixture
def on_behalf(issuer, upstream, tmp_path):
    """A program that exchanges the caller's own token."""
    credential = client_credentials(
        f"{issuer.url}/token", grant_type=EXCHANGE, subject_token={"request_header": "Authorization"}, audience="api"
    )
    config = {
        **one_route(upstream.url, credential),
        "log": {"level": "debug", "access": "all"},
        "store": {"type": "file", "path": "tokens"},
    }
    return Program(config, tmp_path)


def tokens_sent(upstream, prefix):
    return {request.field(b"authorization") for request in upstream.requests if request.target.startswith(prefix)}


def tokens_for(issuer, parameter, value):
    """Every token that the issuer gave for a value: it numbers them in the order in which it was asked."""
    return {f"Bearer at-{number}".encode() for number, asked in enumerate(issuer.asked, 1) if asked[parameter] == value}


async def everything_said(fetch, program, tmp_path):
    pages = [await fetch(program.admin + page) for page in ("/status", "/metrics", "/config", "/", "/readyz")]
    files = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    names = [path.name for path in tmp_path.rglob("*")]
    return "\n".join([program.log, *(f"{list(fields.items())}{body}" for _, fields, body in pages), *files, *names])


async def test_each_tenant_has_its_own_token_however_their_requests_mix(tenants, issuer, upstream, fetch):
    first = TENANTS[:3]
    async with tenants as program:
        await asyncio.gather(
            *(
                fetch(f"{program.url}/api/{tenant}/{number}", headers={"X-Tenant": tenant})
                for number in range(20)
                for tenant in first
            )
        )
    assert len(upstream.requests) == 60
    assert sorted(asked["tenant"] for asked in issuer.asked) == sorted(first)
    for tenant in first:
        sent = tokens_sent(upstream, f"/{tenant}/".encode())
        assert sent == tokens_for(issuer, "tenant", tenant)
        assert len(sent) == 1
    assert not any(request.all(b"x-tenant") for request in upstream.requests)


async def test_a_refused_token_of_one_tenant_costs_the_others_nothing(tenants, issuer, upstream, fetch):
    quail, heron = TENANTS[:2]
    async with tenants as program:
        for tenant in (quail, heron):
            await fetch(f"{program.url}/api/{tenant}/1", headers={"X-Tenant": tenant})
        upstream.script(REFUSED)
        assert (await fetch(f"{program.url}/api/{quail}/2", headers={"X-Tenant": quail}))[0] == 200
        assert (await fetch(f"{program.url}/api/{heron}/2", headers={"X-Tenant": heron}))[0] == 200
    assert [asked["tenant"] for asked in issuer.asked] == [quail, heron, quail]
    assert len(tokens_sent(upstream, f"/{heron}/".encode())) == 1


@pytest.mark.parametrize("value", [None, "", "UPPER", "two words", "a/b", "..", "a" * 65])
async def test_a_request_that_does_not_say_whom_it_is_for_goes_nowhere(tenants, issuer, upstream, fetch, value):
    async with tenants as program:
        status, headers, _ = await fetch(f"{program.url}/api/x", headers={} if value is None else {"X-Tenant": value})
    assert (status, "WWW-Authenticate" in headers) == (401, True)
    assert (upstream.requests, issuer.asked) == ([], [])


async def test_there_is_a_bound_and_who_was_forgotten_is_asked_for_anew(tenants, issuer, upstream, fetch):
    async with tenants as program:
        for tenant in [*TENANTS, TENANTS[-1], TENANTS[0]]:
            assert (await fetch(f"{program.url}/api/{tenant}/", headers={"X-Tenant": tenant}))[0] == 200
    assert [asked["tenant"] for asked in issuer.asked] == [*TENANTS, TENANTS[0]]
    for tenant in TENANTS:
        assert tokens_sent(upstream, f"/{tenant}/".encode()) == tokens_for(issuer, "tenant", tenant)


async def test_no_tenant_is_named_in_a_metric_a_page_a_log_or_a_file(tenants, issuer, fetch, tmp_path):
    async with tenants as program:
        for number, tenant in enumerate(TENANTS):
            if number == 3:
                issuer.script.append((400, {"error": "invalid_request", "error_description": tenant}))
            await fetch(f"{program.url}/api/x", headers={"X-Tenant": tenant})
        said = await everything_said(fetch, program, tmp_path)
    assert "/api/x" in said
    assert not [tenant for tenant in TENANTS if tenant in said]
    assert "at-1" not in said


def subject(name, lifetime=600.0):
    """A caller's own token, a JWT."""
    now = time.time()
    return pyjwt.encode({"sub": name, "iat": now, "exp": now + lifetime}, "k" * 32, algorithm="HS256")


async def test_two_callers_never_share_a_token(on_behalf, issuer, upstream, fetch):
    subjects = {name: subject(name) for name in ("ann", "bob")}
    async with on_behalf as program:
        answers = await asyncio.gather(
            *(
                fetch(f"{program.url}/api/{name}/{number}", headers={"Authorization": f"Bearer {token}"})
                for number in range(20)
                for name, token in subjects.items()
            )
        )
    assert {status for status, _, _ in answers} == {200}
    assert sorted(asked["subject_token"] for asked in issuer.asked) == sorted(subjects.values())
    for name, token in subjects.items():
        sent = tokens_sent(upstream, f"/{name}/".encode())
        assert sent == tokens_for(issuer, "subject_token", token)
        assert len(sent) == 1


async def test_an_exchanged_token_does_not_outlive_the_callers_own(on_behalf, issuer, upstream, fetch):
    """The issuer says an hour; the caller's token ends in two seconds, and in its last instant nothing is to be had."""
    token = subject("ann", 2)
    ends = time.time() + 2
    last = 0.0
    async with on_behalf as program:
        async with asyncio.timeout(30):
            while True:
                began = time.time()
                status, fields, _ = await fetch(f"{program.url}/api/x", headers={"Authorization": f"Bearer {token}"})
                if status == 401:
                    break
                assert status in {200, 503}
                last = began if status == 200 else last
    assert "WWW-Authenticate" in fields
    assert last < ends
    assert tokens_sent(upstream, b"/") <= tokens_for(issuer, "subject_token", token)


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request"])
async def test_a_caller_whose_token_the_issuer_refuses_gets_401_and_others_are_served(
    on_behalf, issuer, upstream, fetch, error
):
    ann, bob = ({"Authorization": f"Bearer {subject(name)}"} for name in ("ann", "bob"))
    issuer.script.append((400, {"error": error}))
    async with on_behalf as program:
        assert (await fetch(f"{program.url}/api/x", headers=ann))[0] == 401
        assert (await fetch(f"{program.url}/api/x"))[0] == 401
        assert (await fetch(f"{program.url}/api/x", headers=bob))[0] == 200
    assert tokens_sent(upstream, b"/") == {b"Bearer at-1"}


async def test_no_part_of_a_callers_token_is_in_a_metric_a_page_a_log_or_a_file(on_behalf, issuer, fetch, tmp_path):
    subjects = [subject("ann"), subject("bob"), "opaque-7c0ffee7-token"]
    async with on_behalf as program:
        for number, token in enumerate(subjects):
            if number == 1:
                issuer.script.append((400, {"error": "invalid_grant", "error_description": token}))
            await fetch(f"{program.url}/api/x", headers={"Authorization": f"Bearer {token}"})
        said = await everything_said(fetch, program, tmp_path)
    assert "/api/x" in said
    assert not [token for token in subjects for part in token.split(".") if part in said]
    assert "at-1" not in said


PHANTOM = "phantom-4711"


def guarded(issuer, upstream, tmp_path, **credential):
    """The program that lets in who shows a bearer, which is for nobody else."""
    config = {
        **one_route(upstream.url, client_credentials(f"{issuer.url}/token", **credential)),
        "callers": {"bearer": {"value": PHANTOM}},
        "log": {"level": "debug", "access": "all"},
    }
    return Program(config, tmp_path)


@pytest.mark.parametrize(
    "lines",
    [
        [("Authorization", f"Bearer {PHANTOM}")],
        [("Proxy-Authorization", f"Bearer {PHANTOM}"), ("Authorization", f"Bearer {PHANTOM}")],
        [("Proxy-Authorization", f"Bearer {PHANTOM}"), ("authorization", f"BEARER {PHANTOM}")],
        [("Proxy-Authorization", f"Bearer {PHANTOM}"), ("Authorization", PHANTOM)],
    ],
)
@pytest.mark.parametrize("field", ["Authorization", "Proxy-Authorization"])
async def test_the_bearer_that_is_for_us_is_nobodys_token_to_exchange(issuer, upstream, tmp_path, fetch, lines, field):
    program = guarded(
        issuer, upstream, tmp_path, grant_type=EXCHANGE, subject_token={"request_header": field}, audience="api"
    )
    async with program:
        assert (await fetch(f"{program.url}/api/x", headers=dict(lines)))[0] == 401
    assert (issuer.asked, upstream.requests) == ([], [])
    assert PHANTOM not in program.log


async def test_the_apps_own_token_is_exchanged_beside_it(issuer, upstream, tmp_path, fetch):
    program = guarded(
        issuer, upstream, tmp_path, grant_type=EXCHANGE, subject_token={"request_header": "Authorization"}
    )
    both = {"Proxy-Authorization": f"Bearer {PHANTOM}", "Authorization": "Bearer anns"}
    async with program:
        assert (await fetch(f"{program.url}/api/x", headers=both))[0] == 200
    assert [asked["subject_token"] for asked in issuer.asked] == ["anns"]
    (request,) = upstream.requests
    assert request.all(b"authorization") == [b"Bearer at-1"]


async def test_the_bearer_that_is_for_us_is_no_tenant(issuer, upstream, tmp_path, fetch):
    program = guarded(
        issuer, upstream, tmp_path, per={"header": "X-Tenant", "pattern": ".+"}, token_parameters={"tenant": "{per}"}
    )
    async with program:
        for tenant, status in ((PHANTOM, 401), (f"Bearer {PHANTOM}", 401), ("quail", 200)):
            headers = {"Authorization": f"Bearer {PHANTOM}", "X-Tenant": tenant}
            assert (await fetch(f"{program.url}/api/x", headers=headers))[0] == status
    assert [asked["tenant"] for asked in issuer.asked] == ["quail"]
    assert PHANTOM.encode() not in b"".join(request.octets for request in upstream.requests)


async def test_a_preflight_that_is_not_answered_here_needs_its_caller_as_any_request_does(
    issuer, upstream, tmp_path, fetch
):
    program = guarded(issuer, upstream, tmp_path)
    asks = {"Access-Control-Request-Method": "GET"}
    cases = [
        {"Origin": program.url, **asks},
        {"Origin": "https://app.example", "Sec-Fetch-Site": "none", **asks},
        {"Origin": "https://app.example", **asks},
    ]
    async with program:
        for headers in cases:
            assert (await fetch(f"{program.url}/api/x", "OPTIONS", headers=headers))[0] == 401
        assert upstream.requests == []
        shown = {"Authorization": f"Bearer {PHANTOM}"}
        for headers, status in zip(cases, (200, 200, 403), strict=True):
            assert (await fetch(f"{program.url}/api/x", "OPTIONS", headers={**headers, **shown}))[0] == status
    assert [request.line.split()[0] for request in upstream.requests] == [b"OPTIONS"] * 2
