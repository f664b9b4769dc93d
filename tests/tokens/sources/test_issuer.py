from __future__ import annotations

import asyncio
import base64
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support.clock import FakeClock
from support.issuer import scripted_issuer, source_of

from proxy.auth.dpop_issuer import TokenEndpointProofs
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.config.schema import Assertion, ClientTls, Duration, InitialToken, Secret, TokenTimeouts
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.issuer_errors import GrantRefused, ReplyLost, ReplyUnreadable
from proxy.tokens.token_response import NOTHING, TokenPair

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
LONG_SECRET = "a client secret that is long enough for HS256"


def unverified(text: str) -> dict:
    return jwt.decode(text, options={"verify_signature": False})


def bearing(refresh_token: str) -> TokenPair:
    return TokenPair(Token(access_token="old", lifetime=1234.0), refresh_token)


async def asked_once(config: dict | None = None, *, previous=NOTHING, clock=None, **options):
    """One fetch; what was asked, and what came."""
    async with (
        scripted_issuer() as issuer,
        source_of(issuer, clock or FakeClock(), **options, **(config or {})) as source,
    ):
        came = await source.fetch(previous)
        assert issuer.count == 1
        return issuer.asked[0], came


async def test_client_credentials_by_basic():
    """B1, B6 and B7: Basic, any number of resources, and what we accept."""
    asked, came = await asked_once(
        {"scope": "a b", "audience": "aud", "resource": ("r1", "r2"), "token_parameters": {"x": "y"}}
    )
    assert asked.parameters == {
        "grant_type": ["client_credentials"],
        "scope": ["a b"],
        "audience": ["aud"],
        "resource": ["r1", "r2"],
        "x": ["y"],
    }
    assert base64.b64decode(asked.headers["authorization"].split()[1]) == b"me:s3cret"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "cookie" not in asked.headers
    assert came.token.access_token == "at-1"


async def test_client_credentials_by_post_says_the_secret_once():
    """B2."""
    asked, _ = await asked_once({"token_endpoint_auth_method": "client_secret_post"})
    assert "authorization" not in asked.headers
    assert asked.parameters["client_id"] == ["me"]
    assert asked.parameters["client_secret"] == ["s3cret"]


async def test_raw_basic_is_configurable():
    """B1."""
    asked, _ = await asked_once({"basic_encoding": "raw"}, secrets={"client_secret": "a+b/c"})
    assert base64.b64decode(asked.headers["authorization"].split()[1]) == b"me:a+b/c"


@pytest.mark.parametrize("method", ["none", "tls_client_auth"])
async def test_a_client_without_a_secret_says_who_it_is(method):
    asked, _ = await asked_once({"token_endpoint_auth_method": method})
    assert asked.parameters["client_id"] == ["me"]
    assert "authorization" not in asked.headers


async def test_a_client_without_an_id_says_nothing():
    asked, _ = await asked_once({"client_id": None, "token_endpoint_auth_method": "none"})
    assert asked.parameters == {"grant_type": ["client_credentials"]}


async def test_a_client_secret_signs_an_assertion():
    """B4."""
    asked, _ = await asked_once(
        {"token_endpoint_auth_method": "client_secret_jwt"}, secrets={"client_secret": LONG_SECRET}
    )
    text = asked["client_assertion"]
    unchecked = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    claims = jwt.decode(text, LONG_SECRET, ["HS256"], options=unchecked)  # type: ignore[arg-type]
    assert claims["aud"].endswith("/token"), "without an issuer the audience is the token endpoint"
    assert "client_secret" not in asked.parameters


async def test_a_private_key_signs_an_assertion_for_the_issuer():
    """B4."""
    asked, _ = await asked_once(
        {
            "token_endpoint_auth_method": "private_key_jwt",
            "issuer": "https://issuer.example",
            "client_assertion_key_id": "k1",
        },
        secrets={"client_assertion_key": pem(RSA_KEY)},
    )
    text = asked["client_assertion"]
    assert jwt.get_unverified_header(text) == {"alg": "RS256", "kid": "k1", "typ": "JWT"}
    assert unverified(text)["aud"] == "https://issuer.example"
    assert unverified(text)["iss"] == unverified(text)["sub"] == "me"


async def test_audience_and_algorithm_of_an_assertion_can_be_set():
    asked, _ = await asked_once(
        {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "client_assertion_audience": "somebody",
        },
        secrets={"client_assertion_key": pem(EC_KEY)},
    )
    text = asked["client_assertion"]
    assert jwt.get_unverified_header(text)["alg"] == "ES256"
    assert unverified(text)["aud"] == "somebody"


async def test_every_request_has_an_assertion_of_its_own():
    """B4."""
    config = {"token_endpoint_auth_method": "private_key_jwt"}
    async with (
        scripted_issuer() as issuer,
        source_of(issuer, FakeClock(), secrets={"client_assertion_key": pem(RSA_KEY)}, **config) as source,
    ):
        await source.fetch(NOTHING)
        await source.fetch(NOTHING)
    first, second = (unverified(asked["client_assertion"])["jti"] for asked in issuer.asked)
    assert first != second


async def test_a_ready_made_assertion_is_read_anew_for_each_request():
    """Workload identity: the platform replaces the file."""
    values = iter(["one", "two"])
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), secrets={}) as source:
        object.__setattr__(source.secrets, "client_assertion", lambda: _next(values))
        await source.fetch(NOTHING)
        await source.fetch(NOTHING)
    assert [asked["client_assertion"] for asked in issuer.asked] == ["one", "two"]
    assert all("authorization" not in asked.headers for asked in issuer.asked)


async def _next(values) -> str:
    return next(values)


async def test_a_password_grant():
    asked, came = await asked_once(
        {"grant_type": "password", "username": "u"}, secrets={"client_secret": "s", "password": "p w"}
    )
    assert (asked["grant_type"], asked["username"], asked["password"]) == ("password", "u", "p w")
    assert came.token.access_token == "at-1"


async def test_a_password_grant_goes_on_with_its_refresh_token():
    asked, _ = await asked_once({"grant_type": "password", "username": "u", "scope": "a"}, previous=bearing("r1"))
    assert (asked["grant_type"], asked["refresh_token"]) == ("refresh_token", "r1")
    assert "scope" not in asked.parameters, "it stays as it was granted"


async def test_a_refresh_token_grant():
    asked, came = await asked_once({"grant_type": "refresh_token", "scope": "a"}, previous=bearing("r1"))
    assert (asked["grant_type"], asked["refresh_token"], asked["scope"]) == ("refresh_token", "r1", "a")
    assert came.refresh_token is None, "none came: keeping the old one is the manager's"


@pytest.mark.parametrize("previous", [NOTHING, TokenPair(Token(access_token="old"))])
async def test_a_refresh_token_grant_without_one_is_refused_without_asking(previous):
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), grant_type="refresh_token") as source:
        with pytest.raises(CredentialRefused, match="no refresh token"):
            await source.fetch(previous)
    assert issuer.count == 0


async def test_client_credentials_do_not_use_refresh_tokens():
    asked, _ = await asked_once(previous=bearing("r1"))
    assert asked["grant_type"] == "client_credentials"


@pytest.mark.parametrize("grant_type", ["client_credentials", EXCHANGE])
async def test_a_refresh_token_in_the_initial_token_is_used_whatever_the_grant(grant_type):
    config = {"grant_type": grant_type, "initial_token": InitialToken(refresh_token=Secret(env="R"))}
    async with (
        scripted_issuer(rotating=True, live_refresh_token="r1") as issuer,
        source_of(issuer, FakeClock(), **config) as source,
    ):
        came = await source.fetch(bearing("r1"))
    assert (issuer.asked[0]["grant_type"], issuer.asked[0]["refresh_token"]) == ("refresh_token", "r1")
    assert came.refresh_token == "rt-1", "a rotated one is the only one that is left"


async def test_a_given_assertion_is_a_grant():
    asked, _ = await asked_once(
        {"grant_type": JWT_BEARER, "assertion": Assertion(env="A")},
        secrets={"client_secret": "s", "assertion": "a.b.c"},
    )
    assert (asked["grant_type"], asked["assertion"]) == (JWT_BEARER, "a.b.c")


async def test_an_assertion_is_signed_here_like_a_google_service_account():
    """B5."""
    clock = FakeClock()
    assertion = Assertion(
        key=None, alg="RS256", kid="k", claims={"iss": "sa@example", "scope": "cloud"}, lifetime=Duration(600)
    )
    asked, _ = await asked_once(
        {"grant_type": JWT_BEARER, "assertion": assertion, "client_id": None, "token_endpoint_auth_method": "none"},
        secrets={"assertion_key": pem(RSA_KEY)},
        clock=clock,
    )
    claims = unverified(asked["assertion"])
    assert jwt.get_unverified_header(asked["assertion"])["kid"] == "k"
    assert claims["iss"] == "sa@example"
    assert claims["scope"] == "cloud"
    assert claims["aud"].endswith("/token")
    assert claims["exp"] - claims["iat"] == 600
    assert claims["iat"] == int(clock.wall()) - 10
    assert "nbf" not in claims
    assert "client_id" not in asked.parameters


async def test_an_assertion_without_an_issuer_of_its_own_is_the_clients():
    asked, _ = await asked_once(
        {"grant_type": JWT_BEARER, "assertion": Assertion()},
        secrets={"client_secret": "s", "assertion_key": pem(RSA_KEY)},
    )
    assert unverified(asked["assertion"])["iss"] == "me"


async def test_a_token_exchange_reads_its_subject_anew_each_time():
    """B6."""
    values = iter(["subject-1", "subject-2"])
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), grant_type=EXCHANGE) as source:
        object.__setattr__(source.secrets, "subject_token", lambda: _next(values))
        await source.fetch(NOTHING)
        await source.fetch(bearing("r"))
    assert [asked["subject_token"] for asked in issuer.asked] == ["subject-1", "subject-2"]
    assert issuer.asked[0]["subject_token_type"] == "urn:ietf:params:oauth:token-type:access_token"


async def test_a_token_exchange_with_an_actor():
    """B6."""
    asked, _ = await asked_once(
        {"grant_type": EXCHANGE, "actor_token_type": "urn:actor", "requested_token_type": "urn:jwt"},
        secrets={"client_secret": "s", "subject_token": "sub", "actor_token": "act"},
    )
    assert (asked["actor_token"], asked["actor_token_type"], asked["requested_token_type"]) == (
        "act",
        "urn:actor",
        "urn:jwt",
    )


@pytest.mark.parametrize(("expires_in", "lifetime"), [(3600, 600), (60, 60), (None, 600)])
async def test_an_exchanged_token_does_not_outlive_its_subject(expires_in, lifetime):
    """B6."""
    clock = FakeClock()
    subject = jwt.encode({"exp": int(clock.wall()) + 600}, LONG_SECRET)
    secrets = {"client_secret": "s", "subject_token": subject}
    async with (
        scripted_issuer(lifetime=expires_in) as issuer,
        source_of(issuer, clock, secrets=secrets, grant_type=EXCHANGE) as source,
    ):
        token = (await source.fetch(NOTHING)).token
    assert token.lifetime == lifetime
    assert token.expires_wall == clock.wall() + lifetime
    assert token.expires_elapsed == clock.elapsed() + lifetime


async def test_a_subject_that_has_ended_gets_nothing():
    """B6."""
    clock = FakeClock()
    secrets = {"client_secret": "s", "subject_token": jwt.encode({"exp": int(clock.wall()) - 1}, LONG_SECRET)}
    async with scripted_issuer() as issuer, source_of(issuer, clock, secrets=secrets, grant_type=EXCHANGE) as source:
        with pytest.raises(GrantRefused, match="subject token has expired"):
            await source.fetch(NOTHING)


@pytest.mark.parametrize("grant", ["password", JWT_BEARER, EXCHANGE])
async def test_a_grant_whose_secret_is_missing_is_refused_without_asking(grant):
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), grant_type=grant) as source:
        with pytest.raises(CredentialRefused, match="not configured"):
            await source.fetch(NOTHING)
    assert issuer.count == 0


async def test_per_is_filled_into_strings():
    asked, _ = await asked_once(
        {
            "scope": "read:{per}",
            "audience": "{per}",
            "resource": ("https://{per}.example",),
            "token_parameters": {"t": "{per}"},
        },
        per="acme",
    )
    assert (asked["scope"], asked["audience"], asked["resource"], asked["t"]) == (
        "read:acme",
        "acme",
        "https://acme.example",
        "acme",
    )


async def test_a_resource_is_a_url_and_what_is_filled_into_it_stays_within_its_part():
    asked, _ = await asked_once({"resource": ("https://a.example/{per}?q={per}", "urn:x:{per}")}, per="a/../b c&d")
    part = "a%2F..%2Fb%20c%26d"
    assert asked.parameters["resource"] == [f"https://a.example/{part}?q={part}", f"urn:x:{part}"]


@pytest.mark.parametrize("at", ["token_endpoint", "issuer"])
async def test_a_value_that_would_lead_elsewhere_is_refused_without_asking(at):
    other: Any = {"token_endpoint": None, at: "https://login.example/{per}"}
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), per="..", **other) as source:
        with pytest.raises(CredentialRefused, match="lead the token request elsewhere"):
            await source.fetch(NOTHING)
    assert issuer.count == 0


async def test_an_unstated_lifetime_is_the_last_known_or_the_configured_one():
    async with (
        scripted_issuer(lifetime=None) as issuer,
        source_of(issuer, FakeClock(), default_expires_in=Duration(77)) as source,
    ):
        assert (await source.fetch(NOTHING)).token.lifetime == 77
        seed = TokenPair(None, "r")
        assert (await source.fetch(seed)).token.lifetime == 77, "nobody ever stated one"
        stated = Token(access_token="old", lifetime=1234.0, expires_wall=5.0, expires_elapsed=5.0)
        unstated = (await source.fetch(TokenPair(stated))).token
        assert (unstated.lifetime, unstated.expires_wall) == (1234, None)
        assert (await source.fetch(TokenPair(unstated))).token.lifetime == 1234
        assert (await source.fetch(NOTHING)).token.expires_wall is None


async def test_the_lifetime_counts_from_when_the_request_was_sent():
    clock = FakeClock()
    async with scripted_issuer() as issuer, source_of(issuer, clock) as source:
        issuer.script.append("hang")
        sent = clock.wall()
        fetching = asyncio.create_task(source.fetch(NOTHING))
        while not issuer.count:
            await asyncio.sleep(0.001)
        clock.suspend(100)
        issuer.let_go.set()
        token = (await fetching).token
    assert token.expires_wall == sent + 3600
    assert token.issued_wall == sent


async def test_a_redirect_is_not_followed():
    """A13."""
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock()) as source:
        issuer.script.append(lambda _: web.Response(status=307, headers={"Location": f"{issuer.url}/token"}))
        with pytest.raises(CredentialUnavailable, match="307"):
            await source.fetch(NOTHING)
    assert issuer.count == 1


async def test_cookies_are_not_kept():
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock()) as source:
        issuer.script.append(lambda _: web.json_response({"access_token": "t"}, headers={"Set-Cookie": "a=b"}))
        await source.fetch(NOTHING)
        await source.fetch(NOTHING)
    assert "cookie" not in issuer.asked[1].headers


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ((400, {"error": "invalid_client"}), CredentialRefused),
        ((400, {"error": "invalid_grant"}), GrantRefused),
        ((500, "oops"), CredentialUnavailable),
        ((200, "<html>"), ReplyUnreadable),
        ((200, ""), ReplyUnreadable),
        ({"error": "invalid_client"}, CredentialRefused),
        ({"access_token": ""}, CredentialUnavailable),
        ((200, "x" * (1024 * 1024 + 1)), ReplyUnreadable),
        ("reset", ReplyLost),
        ((401, ""), CredentialUnavailable),
        ((400, {"error": "made_up"}), CredentialUnavailable),
    ],
)
async def test_failures_have_their_kinds(entry, error):
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock()) as source:
        issuer.script.append(entry)
        with pytest.raises(error) as caught:
            await source.fetch(NOTHING)
    assert type(caught.value) is error


async def test_retry_after_is_heard():
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock()) as source:
        issuer.script.append(lambda _: web.Response(status=429, headers={"Retry-After": "42"}))
        with pytest.raises(CredentialUnavailable) as caught:
            await source.fetch(NOTHING)
    assert caught.value.requested == 42


async def test_a_silent_issuer_is_given_up():
    timeouts = TokenTimeouts(connect=Duration(1), total=Duration(1))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), timeouts=timeouts) as source:
        issuer.script.append("hang")
        with pytest.raises(ReplyLost, match="in time"):
            await source.fetch(NOTHING)


async def test_a_credential_without_any_endpoint_is_refused():
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), token_endpoint=None) as source:
        with pytest.raises(CredentialRefused, match="token_endpoint"):
            await source.fetch(NOTHING)


def metadata(**said):
    async def handler(request: web.Request) -> web.Response:
        base = f"http://{request.host}"
        return web.json_response(
            {"issuer": base} | {k: v.replace("BASE", base) if isinstance(v, str) else v for k, v in said.items()}
        )

    return [web.get("/.well-known/oauth-authorization-server", handler)]


async def test_the_endpoint_is_discovered():
    async with (
        scripted_issuer(metadata(token_endpoint="BASE/token")) as issuer,
        source_of(issuer, FakeClock(), token_endpoint=None, issuer=issuer.url) as source,
    ):
        assert (await source.fetch(NOTHING)).token.access_token == "at-1"


async def test_a_client_with_a_certificate_uses_the_alias_for_it():
    """RFC 8705 §5."""
    async with scripted_issuer() as issuer:
        asked = []

        class Alias:
            async def endpoint(self, issuer_url: str, name: str, *, mtls: bool, configured: str, insecure: bool) -> str:
                assert not insecure
                asked.append((issuer_url, name, mtls, configured))
                return f"{issuer.url}/token"

        tls = ClientTls(cert_file="c", key_file="k")
        async with source_of(issuer, FakeClock(), token_endpoint=None, issuer="https://i.example", tls=tls) as source:
            object.__setattr__(source, "discovery", Alias())
            await source.fetch(NOTHING)
    assert asked == [("https://i.example", "token_endpoint", True, "https://i.example")]


# ---- DPoP ------------------------------------------------------------------------------------------------------------


def bound(_request=None, **said):
    return {"access_token": "dp", "token_type": "DPoP", "expires_in": 60} | said


def challenge(nonce: str | None, status: int = 400):
    headers = {"DPoP-Nonce": nonce} if nonce else {}
    return lambda _: web.json_response({"error": "use_dpop_nonce"}, status=status, headers=headers)


async def test_with_dpop_every_request_carries_a_proof_and_the_token_names_its_key():
    keys = DpopKeys(DpopKey.generate())
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=TokenEndpointProofs(keys)) as source:
        issuer.script.append(bound())
        token = (await source.fetch(NOTHING)).token
    proof = unverified(issuer.asked[0].headers["dpop"])
    assert (proof["htm"], proof["htu"]) == ("POST", f"{issuer.url}/token")
    assert (token.token_type, token.key_thumbprint) == ("DPoP", keys.current.thumbprint)


async def test_only_what_is_bound_anew_is_bound_to_another_key():
    """RFC 9449 §5: an issuer takes a public client's refresh token from the key that it is bound to, and no other."""
    followed: list[str] = []
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    config = {"grant_type": "password", "username": "u"}
    secrets = {"password": "p", "client_secret": "s3cret"}
    async with (
        scripted_issuer() as issuer,
        source_of(
            issuer,
            FakeClock(),
            proofs=proofs,
            secrets=secrets,
            follow_key=lambda: followed.append("now"),
            **config,
        ) as source,
    ):
        issuer.script.extend([bound(refresh_token="r1"), bound(refresh_token="r2"), bound()])
        came = await source.fetch(NOTHING)
        assert followed == ["now"]
        await source.fetch(TokenPair(came.token, came.refresh_token))
        assert followed == ["now"]
        await source.fetch(NOTHING)
    assert followed == ["now", "now"]


async def test_a_token_is_bound_to_the_key_that_was_shown_whatever_others_took_up_meanwhile():
    """The callers of one credential have their keys in common."""
    keys = DpopKeys(DpopKey.generate())
    shown = keys.current.thumbprint
    async with (
        scripted_issuer() as issuer,
        source_of(issuer, FakeClock(), proofs=TokenEndpointProofs(keys)) as source,
    ):

        def answer(request):
            keys.use(DpopKey.generate())
            return web.json_response(bound(request))

        issuer.script.append(answer)
        assert (await source.fetch(NOTHING)).token.key_thumbprint == shown != keys.current.thumbprint


async def test_a_bearer_token_in_answer_to_a_proof_is_not_used():
    """D9."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        with pytest.raises(CredentialRefused, match="not bound"):
            await source.fetch(NOTHING)


@pytest.mark.parametrize("status", [400, 401])
async def test_a_nonce_is_answered_once_with_a_new_proof_and_a_new_assertion(status):
    """B4, D2 and D4."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    config = {"token_endpoint_auth_method": "private_key_jwt"}
    secrets = {"client_assertion_key": pem(RSA_KEY)}
    async with (
        scripted_issuer() as issuer,
        source_of(issuer, FakeClock(), proofs=proofs, secrets=secrets, **config) as source,
    ):
        issuer.script.extend([challenge("n1", status), bound()])
        await source.fetch(NOTHING)
    first, second = (unverified(asked.headers["dpop"]) for asked in issuer.asked)
    assert "nonce" not in first
    assert second["nonce"] == "n1"
    assert first["jti"] != second["jti"]
    one, two = (unverified(asked["client_assertion"])["jti"] for asked in issuer.asked)
    assert one != two


async def test_a_proof_that_is_refused_for_its_time_is_made_anew_by_the_issuers_clock():
    """D10."""
    clock = FakeClock()
    ahead = formatdate(clock.wall() + 3600, usegmt=True)
    refusal = web.json_response({"error": "invalid_dpop_proof"}, status=400, headers={"Date": ahead})
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, clock, proofs=proofs) as source:
        issuer.script.extend([lambda _: refusal, bound()])
        await source.fetch(NOTHING)
    first, second = (unverified(asked.headers["dpop"])["iat"] for asked in issuer.asked)
    assert second == first + 3600


@pytest.mark.parametrize("clock_first", [True, False])
async def test_a_nonce_and_the_time_are_each_answered_once(clock_first):
    """Who has a wrong clock and no nonce yet is refused for both, one after the other."""
    clock = FakeClock()
    date = {"Date": formatdate(clock.wall() - 3600, usegmt=True)}

    def late(_):
        return web.json_response({"error": "invalid_dpop_proof"}, status=400, headers=date)

    refusals = [late, challenge("n1")] if clock_first else [challenge("n1"), late]
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, clock, proofs=proofs) as source:
        issuer.script.extend([*refusals, bound()])
        await source.fetch(NOTHING)
        claims = [unverified(asked.headers["dpop"]) for asked in issuer.asked]
        assert (claims[2]["nonce"], claims[2]["iat"]) == ("n1", claims[0]["iat"] - 3600)
        issuer.script.extend([challenge("n2"), challenge("n3")])
        with pytest.raises(CredentialUnavailable, match="use_dpop_nonce"):
            await source.fetch(NOTHING)
    assert issuer.count == 5


def refusing(status: int, nonce: str | None = None, error: str | None = None, **fields: str):
    def answer(_):
        headers = fields | ({"DPoP-Nonce": nonce} if nonce else {})
        if error is None:
            return web.Response(status=status, headers=headers)
        return web.json_response({"error": error}, status=status, headers=headers)

    return answer


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((401, None), (400, None), (403, None), (404, None), (418, None)),
        *((400, "use_dpop_nonce"), (401, "invalid_client"), (400, "invalid_grant"), (400, "made_up")),
        *((400, "invalid_dpop_proof"), (200, "use_dpop_nonce"), (200, "made_up")),
    ],
)
async def test_a_refusal_that_brings_a_nonce_is_worth_another_attempt_whatever_else_it_says(status, error):
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        issuer.script.extend([refusing(status, "n1", error), bound()])
        await source.fetch(NOTHING)
    first, second = (unverified(asked.headers["dpop"]) for asked in issuer.asked)
    assert (first.get("nonce"), second["nonce"]) == (None, "n1")
    assert first["jti"] != second["jti"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_a_nonce_with_what_is_no_refusal_is_kept_for_the_next_time(status):
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        issuer.script.extend([refusing(status, "n1"), bound()])
        with pytest.raises(CredentialUnavailable):
            await source.fetch(NOTHING)
        assert issuer.count == 1
        await source.fetch(NOTHING)
    assert unverified(issuer.asked[1].headers["dpop"])["nonce"] == "n1"


async def test_a_refusal_that_brought_a_nonce_yet_again_is_not_held_and_one_without_is():
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        for nonces, passing in ((("n1", "n2"), True), (("n3", "n3"), False), ((None,), False)):
            issuer.script.extend(refusing(401, nonce, "invalid_client") for nonce in nonces)
            with pytest.raises(CredentialRefused) as caught:
                await source.fetch(NOTHING)
            assert caught.value.passing is passing
            assert not issuer.script


async def test_without_proofs_a_nonce_teaches_nothing():
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock()) as source:
        issuer.script.append(refusing(401, "n1", "invalid_client"))
        with pytest.raises(CredentialRefused) as caught:
            await source.fetch(NOTHING)
    assert (issuer.count, caught.value.passing) == (1, False)


SIGNING: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "private_key_jwt": (
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"client_assertion_key": pem(RSA_KEY)},
        "client_assertion",
    ),
    "client_secret_jwt": (
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"client_secret": LONG_SECRET},
        "client_assertion",
    ),
    "jwt-bearer": (
        {"grant_type": JWT_BEARER, "assertion": Assertion(), "token_endpoint_auth_method": "none"},
        {"assertion_key": pem(RSA_KEY)},
        "assertion",
    ),
}


@pytest.mark.parametrize("skew", [-3600, -30, 30, 3600])
@pytest.mark.parametrize("how", list(SIGNING))
@pytest.mark.parametrize("refused", [(401, "invalid_client"), (400, "invalid_grant"), (400, "made_up"), (401, None)])
async def test_an_assertion_learns_the_issuers_clock_from_a_refusal(how, skew, refused):
    clock = FakeClock()
    config, secrets, where = SIGNING[how]
    date = {"Date": formatdate(clock.wall() + skew, usegmt=True)}
    async with scripted_issuer() as issuer, source_of(issuer, clock, secrets=secrets, **config) as source:
        issuer.script.append(refusing(refused[0], None, refused[1], **date))
        await source.fetch(NOTHING)
        await source.fetch(NOTHING)
    claims = [unverified(asked[where]) for asked in issuer.asked]
    issued = int(clock.wall()) - 10
    assert [claim["iat"] - issued for claim in claims] == [0, skew, skew]
    assert len({claim["exp"] - claim["iat"] for claim in claims}) == 1
    assert len({claim["jti"] for claim in claims}) == 3
    assert not any("nbf" in claim for claim in claims)


@pytest.mark.parametrize("how", list(SIGNING))
async def test_assertions_follow_our_clock_when_it_was_ahead_and_is_put_right(how):
    clock = FakeClock()
    config, secrets, where = SIGNING[how]
    async with scripted_issuer() as issuer, source_of(issuer, clock, secrets=secrets, **config) as source:
        clock.step_wall(86400)
        await source.fetch(NOTHING)
        clock.step_wall(-86400)
        issuer.script.append(refusing(401, None, "invalid_client", Date=formatdate(clock.wall(), usegmt=True)))
        await source.fetch(NOTHING)
    assert [unverified(asked[where])["iat"] - int(clock.wall()) for asked in issuer.asked] == [86390, 86390, -10]


@pytest.mark.parametrize("how", list(SIGNING))
async def test_a_refusal_at_the_right_time_is_not_tried_again(how):
    clock = FakeClock()
    config, secrets, _ = SIGNING[how]
    dates = [{"Date": formatdate(clock.wall() + skew, usegmt=True)} for skew in (0, -4, 4)]
    async with scripted_issuer() as issuer, source_of(issuer, clock, secrets=secrets, **config) as source:
        for asked, date in enumerate([*dates, {"Date": "soon"}], 1):
            issuer.script.append(refusing(401, None, "invalid_client", **date))
            with pytest.raises(CredentialRefused):
                await source.fetch(NOTHING)
            assert issuer.count == asked


async def test_a_wrong_date_is_tried_once():
    clock = FakeClock()
    config, secrets, _ = SIGNING["private_key_jwt"]
    date = {"Date": formatdate(clock.wall() + 3600, usegmt=True)}
    async with scripted_issuer() as issuer, source_of(issuer, clock, secrets=secrets, **config) as source:
        issuer.script.extend(refusing(401, None, "invalid_client", **date) for _ in range(9))
        with pytest.raises(CredentialRefused):
            await source.fetch(NOTHING)
    assert issuer.count == 2


async def test_what_is_not_signed_has_no_time():
    clock = FakeClock()
    date = {"Date": formatdate(clock.wall() + 3600, usegmt=True)}
    async with scripted_issuer() as issuer, source_of(issuer, clock) as source:
        issuer.script.append(refusing(401, None, "invalid_client", **date))
        with pytest.raises(CredentialRefused):
            await source.fetch(NOTHING)
    assert issuer.count == 1


async def test_each_attempt_of_a_grant_has_a_new_assertion():
    """The one after a nonce challenge too: a server that remembers `jti` calls the old one a replay."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    config, secrets, _ = SIGNING["jwt-bearer"]
    async with (
        scripted_issuer() as issuer,
        source_of(issuer, FakeClock(), secrets=secrets, proofs=proofs, **config) as source,
    ):
        issuer.script.extend([challenge("n1"), bound()])
        await source.fetch(NOTHING)
    assert len({unverified(asked["assertion"])["jti"] for asked in issuer.asked}) == 2


# ---- answers as servers send them ------------------------------------------------------------------------------------

TEXT = '{"access_token":"t","refresh_token":"r2","expires_in":60,"name":"José"}'


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/json;charset=ISO-8859-1", "latin-1"),
        ("application/json", "latin-1"),
        ("application/json; charset=utf-16", "utf-16"),
        ("application/json", "utf-16"),
        ("application/json", "utf-8-sig"),
        ("text/html; charset=none-such", "utf-8"),
        ("application/json; charset=cp1252", "cp1252"),
    ],
)
async def test_an_answer_is_read_in_the_charset_that_it_has(content_type, charset):
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), grant_type="refresh_token") as source:
        issuer.script.append(lambda _: web.Response(body=TEXT.encode(charset), headers={"Content-Type": content_type}))
        came = await source.fetch(bearing("r1"))
    assert (came.token.access_token, came.refresh_token) == ("t", "r2")


def broken_off(text: str):
    """A head that promises more than comes."""

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Length": "9999"})
        await response.prepare(request)
        await response.write(text.encode())
        request.transport.close()
        return response

    return answer


@pytest.mark.parametrize(
    ("text", "rotated"),
    [
        (TEXT[:-9], "r2"),
        ('{"access_token":"t","refresh_to', None),
        ("", None),
        ("access_token=t&refresh_token=r2", None),
    ],
)
async def test_an_answer_that_breaks_off_is_no_answer_that_was_lost(text, rotated):
    async with (
        scripted_issuer([web.post("/broken", broken_off(text))]) as issuer,
        source_of(issuer, FakeClock(), grant_type="refresh_token", token_endpoint=f"{issuer.url}/broken") as source,
    ):
        with pytest.raises(ReplyUnreadable) as caught:
            await source.fetch(bearing("r1"))
    assert caught.value.rotated == rotated


async def test_an_answer_whose_json_is_whole_is_taken_though_more_was_promised():
    async with (
        scripted_issuer([web.post("/broken", broken_off(TEXT))]) as issuer,
        source_of(issuer, FakeClock(), grant_type="refresh_token", token_endpoint=f"{issuer.url}/broken") as source,
    ):
        assert (await source.fetch(bearing("r1"))).refresh_token == "r2"


async def test_a_nonce_is_learned_from_a_good_answer_too():
    """D5."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        issuer.script.append(lambda _: web.json_response(bound(), headers={"DPoP-Nonce": "n7"}))
        issuer.script.append(bound())
        await source.fetch(NOTHING)
        await source.fetch(NOTHING)
    assert unverified(issuer.asked[1].headers["dpop"])["nonce"] == "n7"


async def test_the_nonce_of_the_second_answer_is_learned_too():
    """D5: the defect of atproto#3852: what the answer to the retry says is dropped."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        issuer.script.extend(
            [challenge("n1"), lambda _: web.json_response(bound(), headers={"DPoP-Nonce": "n2"}), bound()]
        )
        await source.fetch(NOTHING)
        await source.fetch(NOTHING)
    assert [unverified(a.headers["dpop"]).get("nonce") for a in issuer.asked] == [None, "n1", "n2"]


async def test_a_nonce_that_is_not_new_or_not_there_is_not_tried_again():
    """D6."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        issuer.script.extend([challenge("n1"), challenge("n1")])
        with pytest.raises(CredentialUnavailable, match="use_dpop_nonce"):
            await source.fetch(NOTHING)
        assert issuer.count == 2
        issuer.script.append(challenge("n1"))
        with pytest.raises(CredentialUnavailable):
            await source.fetch(NOTHING)
        assert issuer.count == 3
        issuer.script.append(challenge(None))
        with pytest.raises(CredentialUnavailable):
            await source.fetch(NOTHING)
    assert issuer.count == 4


async def test_an_endless_row_of_new_nonces_is_answered_once():
    """D6."""
    proofs = TokenEndpointProofs(DpopKeys(DpopKey.generate()))
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock(), proofs=proofs) as source:
        issuer.script.extend(challenge(f"n{i}") for i in range(9))
        with pytest.raises(CredentialUnavailable):
            await source.fetch(NOTHING)
    assert issuer.count == 2


async def test_neither_source_nor_secrets_can_be_printed():
    async with scripted_issuer() as issuer, source_of(issuer, FakeClock()) as source:
        assert "s3cret" not in repr(source)
        assert "reader" not in repr(source.secrets)
