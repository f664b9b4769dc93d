"""The dialects of token APIs, kind by kind: the request octet by octet as it goes out, and the answer as it comes.

One program has them all, each behind a route of its own, and whatever it shows afterwards is searched for every secret.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import json
import logging
import re
import time
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import jwt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import RSAAlgorithm
from support.running import Running

from proxy.cli.explain_command import explained, request_of
from proxy.cli.routes_command import as_text
from proxy.config.load import load

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
LOCKED = EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"hush-opens"))
ENVIRON = {
    "PW": 'hush-p&w "1"/<x>',
    "KEY": "hush-key",
    "CLIENT": "hush-client",
    "HEX": b"hush".hex() * 10,
    "OPENS": "hush-opens",
    "LOCKED": LOCKED.decode().replace("\n", "\\n"),
    "PATH_SECRET": "hush-path",
}


class Kind(NamedTuple):
    """`asked`: method, target and body of the token request, `{url}` being the API's. `fields`: of its head.

    `answer`: body, status, further fields. `sent`: the Authorization that the upstream sees; None: a token of 'tok-…'.
    """

    credential: dict[str, Any]
    asked: tuple[str, str, str]
    fields: dict[str, str | None]
    answer: tuple[Any, ...] = ('{"access_token": "tok-1", "expires_in": 3600}',)
    sent: str | None = "Bearer tok-1"
    life: float | None = 3600


def basic(pair: str, word: str = "Basic") -> str:
    return f"{word} {base64.b64encode(pair.encode()).decode()}"


def oauth2(**more: Any) -> dict[str, Any]:
    secret = {} if "assertion" in more or "client_assertion_key" in more else {"client_secret": {"env": "CLIENT"}}
    return {"type": "oauth2", "token_endpoint": "{url}/token", "client_id": "me", **secret} | more


def http(obtain: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "http", "obtain": {"url": "{url}/token"} | obtain} | more


CC = "grant_type=client_credentials"
ME = basic("me:hush-client")
BY_FORM = {"Content-Type": FORM, "Authorization": ME}
SECRETS = {"secrets": {"pw": {"env": "PW"}, "key": {"env": "KEY"}}}
QUOTED = "hush-p%26w%20%221%22%2F%3Cx%3E"
TOKEN = {"access_token": "tok-1"}
PLAIN: tuple[str, str, str] = ("POST", "/token", "")


def answered(body: str, response: dict[str, Any], *more: Any, life: float | None = 3600) -> Kind:
    return Kind(http({}, response=response), PLAIN, {}, (body, *more), life=life)


def moment(form: str) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).strftime(form)


KINDS = {
    # token requests of OAuth 2
    "a form": Kind(oauth2(), ("POST", "/token", CC), BY_FORM),
    "json": Kind(
        oauth2(token_request={"format": "json"}),
        ("POST", "/token", '{"grant_type":"client_credentials"}'),
        {"Content-Type": JSON, "Authorization": ME},
    ),
    "json with the client in it": Kind(
        oauth2(token_request={"format": "json"}, token_endpoint_auth_method="client_secret_post"),
        ("POST", "/token", '{"grant_type":"client_credentials","client_id":"me","client_secret":"hush-client"}'),
        {"Content-Type": JSON, "Authorization": None},
    ),
    "a query": Kind(
        oauth2(token_request={"format": "query"}), ("POST", f"/token?{CC}", ""), {"Content-Type": None}
    ),
    "another name": Kind(
        oauth2(token_request={"names": {"client_id": "client_key"}}, token_endpoint_auth_method="client_secret_post"),
        ("POST", "/token", f"{CC}&client_key=me&client_secret=hush-client"),
        {"Content-Type": FORM},
    ),
    "a field more": Kind(
        oauth2(token_request={"headers": {"X-Api-Key": "k={key}", "X-Other": {"env": "KEY"}}}, **SECRETS),
        ("POST", "/token", CC),
        {"X-Api-Key": "k=hush-key", "X-Other": "hush-key"} | BY_FORM,
    ),
    "another grant and a secret in a parameter": Kind(
        oauth2(token_parameters={"grant_type": "account_credentials", "pw": "{pw}"}, **SECRETS),
        ("POST", "/token", "grant_type=account_credentials&pw=hush-p%26w+%221%22%2F%3Cx%3E"),
        BY_FORM,
    ),
    "a secret in the token URL": Kind(
        oauth2(token_endpoint="{url}/token/{pw}?k={pw}", **SECRETS),
        ("POST", f"/token/{QUOTED}?k={QUOTED}", CC),
        BY_FORM,
    ),
    "another place for refresh tokens": Kind(
        oauth2(
            grant_type="refresh_token", refresh_token={"value": "hush-seed"}, refresh_endpoint="{url}/token/refresh"
        ),
        ("POST", "/token/refresh", "grant_type=refresh_token&refresh_token=hush-seed"),
        BY_FORM,
    ),
    # requests of any API
    "a secret in a JSON body": Kind(
        http({"json": {"user": "u", "password": "{pw}"}}, **SECRETS),
        ("POST", "/token", '{"user":"u","password":"hush-p&w \\"1\\"/<x>"}'),
        {"Content-Type": JSON},
    ),
    "a secret in a form": Kind(
        http({"form": {"password": "{pw}", "key": {"env": "KEY"}}}, **SECRETS),
        ("POST", "/token", "password=hush-p%26w+%221%22%2F%3Cx%3E&key=hush-key"),
        {"Content-Type": FORM},
    ),
    "a secret in a URL": Kind(
        http({"url": "{url}/token?key={pw}", "method": "GET"}, **SECRETS), ("GET", f"/token?key={QUOTED}", ""), {}
    ),
    "a secret within a field": Kind(
        http({"headers": {"Authorization": "ApiKey me:{key}"}}, **SECRETS),
        PLAIN,
        {"Authorization": "ApiKey me:hush-key"},
    ),
    "a secret in XML": Kind(
        http({"headers": {"Content-Type": "text/xml"}, "body": "<p>{pw}</p><q>{{pw}}</q>"}, **SECRETS),
        ("POST", "/token", "<p>hush-p&amp;w &quot;1&quot;/&lt;x&gt;</p><q>{pw}</q>"),
        {"Content-Type": "text/xml"},
    ),
    "a secret in a JSON text": Kind(
        http({"headers": {"Content-Type": JSON}, "body": '{"a": {"b": "{pw}"}, "c": {}}'}, **SECRETS),
        ("POST", "/token", '{"a": {"b": "hush-p&w \\"1\\"/<x>"}, "c": {}}'),
        {"Content-Type": JSON},
    ),
    "Basic": Kind(
        http({"basic": {"username": "app", "password": {"env": "KEY"}}}),
        PLAIN,
        {"Authorization": basic("app:hush-key")},
    ),
    "Basic whose user name is the secret": Kind(
        http({"basic": {"username": {"env": "KEY"}, "scheme": "Token"}}),
        PLAIN,
        {"Authorization": basic("hush-key:", "Token")},
    ),
    "nothing but a refresh": Kind(
        {
            "type": "http",
            "refresh": {"method": "GET", "url": "{url}/token?t={refresh_token}"},
            "initial_token": {"refresh_token": {"value": "hush-seed"}},
        },
        ("GET", "/token?t=hush-seed", ""),
        {},
    ),
    # answers
    "another token type": Kind(
        oauth2(),
        ("POST", "/token", CC),
        BY_FORM,
        ('{"access_token": "tok-1", "expires_in": 3600, "token_type": "Application Access Token"}',),
    ),
    "an answer that is nested": Kind(
        oauth2(response={"access_token": "/data/token", "expires_in": "/data/ttl"}),
        ("POST", "/token", CC),
        BY_FORM,
        ('{"data": {"token": "tok-1", "ttl": "3600s"}}',),
    ),
    "a header field": answered(
        "", {"access_token": {"header": "X-Token"}, "expires_in": {"header": "X-Ttl"}}, 200,
        {"X-Token": "Bearer tok-1", "X-Ttl": "1h"},
    ),
    "a cookie": answered(
        '{"SessionTimeout": 60}',
        {"access_token": {"cookie": "B1SESSION"}, "expires_in": None},
        200,
        {"Set-Cookie": "B1SESSION=tok-1; HttpOnly; Path=/"},
        life=None,
    ),
    "a bare text": answered("tok-1\n", {"access_token": "", "format": "text"}, life=None),
    "XML": answered(
        "<?xml version='1.0'?><r xmlns='urn:x'><s id='7'><t>tok-1</t></s><l>3600</l></r>",
        {"access_token": "/r/s/t", "expires_in": "/l"},
    ),
    "milliseconds": answered(
        '{"access_token": "tok-1", "expires_in": 3600000}', {"expires_in_unit": "ms"}
    ),
    "a token for ever": answered(
        '{"access_token": "tok-1", "expires_in": 0}', {"zero_expires_in": "never"}, life=2.0**31
    ),
    "a date without offset": answered(
        "AT", {"expires_at": "/at"}, partial(moment, "%Y-%m-%d %H:%M:%S")
    ),
    "a date of Azure's": answered("AT", {"expires_at": "/at"}, partial(moment, "%m/%d/%Y %H:%M:%S +00:00")),
    "a date of .NET's": answered("AT", {"expires_at": "/at"}, lambda: f"/Date({int(time.time() + 3600)}000)/"),
    "an HTTP date": answered("AT", {"expires_at": "/at"}, partial(moment, "%a, %d %b %Y %H:%M:%S GMT")),
}  # fmt: skip


class Api:
    """Token endpoints and an upstream, told apart by the first segment of the path."""

    url: str

    def __init__(self) -> None:
        self.asked: dict[str, list[tuple[str, str, str]]] = {}
        self.fields: dict[str, Any] = {}
        self.answers: dict[str, tuple[Any, ...]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        _, name, rest = request.raw_path.split("/", 2)
        if rest.startswith("x"):
            return web.json_response({"authorization": request.headers.get("Authorization")})
        body = (await request.read()).decode()
        self.asked.setdefault(name, []).append((request.method, f"/{rest}", body))
        self.fields[name] = request.headers
        said, *more = self.answers[name]
        if said == "AT":
            said, more = json.dumps({"access_token": "tok-1", "at": more[0]()}), []
        status, fields = (more + [200, {}][len(more) :])[:2] if more else (200, {})
        return web.Response(body=said.encode(), status=status, headers=fields)


@pytest.fixture
async def api(aiohttp_server):
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", api.answer)
    api.url = str((await aiohttp_server(app)).make_url("")).rstrip("/")
    return api


def named(kinds: dict[str, Kind]) -> dict[str, str]:
    return {name: re.sub(r"[^A-Za-z0-9]+", "-", name).lower() for name in kinds}


def configured(credentials: dict[str, dict[str, Any]], api: Api) -> dict[str, Any]:
    """Each credential behind a route of its own; `{url}` in a string is the API's place for it."""
    return {
        "routes": [
            {"match": f"/{name}", "upstream": f"{api.url}/{name}/x/${{PATH_SECRET}}", "credential": name}
            for name in credentials
        ],
        "credentials": {
            name: json.loads(json.dumps(credential).replace("{url}", f"{api.url}/{name}"))
            for name, credential in credentials.items()
        },
    }


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The commands that explain look there."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


async def everything_shown(running: Running, caplog: pytest.LogCaptureFixture, names: list[str]) -> str:
    """All that the program lets people see of itself."""
    pages = [(await running.ask(running.admin + path))[2].decode() for path in ("/", "/status", "/config", "/metrics")]
    loaded = load(running.file, ENVIRON)
    lines = [as_text(loaded.config, loaded.written)]
    for name in names:
        octets = request_of("GET", f"/{name}/y", ["Authorization: Bearer hush-callers-own"], loaded.config)
        lines += await explained(loaded, octets)
    return "\n".join([*pages, *lines, *(record.getMessage() for record in caplog.records)])


def leaks(shown: str) -> list[str]:
    """What stands around each secret."""
    return re.findall(r".{0,40}hush(?!-callers-own).{0,10}", shown)


async def test_every_dialect_is_spoken_and_no_secret_is_shown(api, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "auth_sidecar")
    names = named(KINDS)
    api.answers = {names[name]: kind.answer for name, kind in KINDS.items()}
    config = configured({names[name]: kind.credential for name, kind in KINDS.items()}, api)
    async with Running(config, tmp_path, environ=ENVIRON) as running:
        await running.until_ready()
        status = (await running.status())["credentials"]
        for called, kind in KINDS.items():
            name = names[called]
            assert api.asked[name] == [kind.asked], called
            for field, value in kind.fields.items():
                assert api.fields[name].get(field) == value, (called, field)
            answered, _, body = await running.ask(f"{running.url}/{name}/y")
            assert (answered, json.loads(body)["authorization"]) == (200, kind.sent), (called, status[name])
            if kind.life is None:
                assert status[name]["expires_at"] is None, called
            else:
                assert abs(status[name]["expires_at"] - time.time() - kind.life) < 60, called
        shown = await everything_shown(running, caplog, list(names.values()))
    assert leaks(shown) == []
    assert "tok-1" not in shown
    assert "Application Access Token" not in shown


def pem(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(name, name, RSA_KEY.public_key(), 7, start, start + dt.timedelta(days=9))
    return made.sign(RSA_KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def assertion_of(asked: tuple[str, str, str], name: str) -> str:
    return parse_qs(asked[2])[name][0]


def unsigned(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


async def test_keys_of_every_form_sign_what_issuers_want(api, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "auth_sidecar")
    cert = certificate()
    (tmp_path / "app.pem").write_bytes(cert + pem(RSA_KEY).encode())
    (tmp_path / "jwk.json").write_text(json.dumps(RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True) | {"kid": "okta-1"}))
    account = {"client_email": "sa@hush.example", "private_key": pem(RSA_KEY), "private_key_id": "g-1"}
    (tmp_path / "sa.json").write_text(json.dumps(account))
    credentials: dict[str, dict[str, Any]] = {
        "entra": oauth2(
            client_assertion_key={"file": "app.pem"},
            client_assertion_certificate={"file": "app.pem"},
            token_endpoint_auth_signing_alg="PS256",
        ),
        "okta": oauth2(
            client_assertion_key={"file": "jwk.json"},
            client_assertion_claims={"nbf": None, "own": {"env": "KEY"}},
            client_assertion_headers={"typ": "client-authentication+jwt"},
        ),
        "google": {
            "type": "oauth2",
            "grant_type": JWT_BEARER,
            "token_endpoint": "{url}/token",
            "assertion": {"google_service_account": {"file": "sa.json"}, "claims": {"scope": "s-1"}},
        },
        "locked": oauth2(
            grant_type=JWT_BEARER,
            assertion={
                "key": {"env": "LOCKED"},
                "key_password": {"env": "OPENS"},
                "alg": "ES256",
                "claims": {"iss": {"file": "sa.json", "json_pointer": "/client_email"}},
            },
        ),
        "ghost": {
            "type": "jwt",
            "key": {"env": "HEX"},
            "key_encoding": "hex",
            "alg": "HS256",
            "headers": {"kid": "1:2"},
        },
    }
    api.answers = dict.fromkeys(credentials, ('{"access_token": "tok-1", "expires_in": 3600}',))
    async with Running(configured(credentials, api), tmp_path, environ=ENVIRON) as running:
        await running.until_ready()

        assertion = assertion_of(api.asked["entra"][0], "client_assertion")
        der = x509.load_pem_x509_certificate(cert).public_bytes(Encoding.DER)
        header, _ = unsigned(assertion)
        assert header["x5t#S256"] == base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
        assert header["x5t"] == base64.urlsafe_b64encode(hashlib.sha1(der).digest()).decode().rstrip("=")
        assert jwt.decode(assertion, RSA_KEY.public_key(), ["PS256"], options={"verify_aud": False})["sub"] == "me"

        header, claims = unsigned(assertion_of(api.asked["okta"][0], "client_assertion"))
        assert header == {"alg": "RS256", "kid": "okta-1", "typ": "client-authentication+jwt"}
        assert ("nbf" in claims, claims["own"]) == (False, "hush-key")

        header, claims = unsigned(assertion_of(api.asked["google"][0], "assertion"))
        assert (header["kid"], claims["iss"], claims["scope"]) == ("g-1", "sa@hush.example", "s-1")
        assert claims["aud"] == f"{api.url}/google/token"

        assertion = assertion_of(api.asked["locked"][0], "assertion")
        claims = jwt.decode(assertion, EC_KEY.public_key(), ["ES256"], options={"verify_aud": False})
        assert claims["iss"] == "sa@hush.example"

        _, _, body = await running.ask(f"{running.url}/ghost/y")
        token = json.loads(body)["authorization"].removeprefix("Bearer ")
        assert jwt.get_unverified_header(token)["kid"] == "1:2"
        assert jwt.decode(token, b"hush" * 10, ["HS256"])["jti"]
        shown = await everything_shown(running, caplog, list(credentials))
    assert leaks(shown) == []
    assert "PRIVATE" not in shown


async def test_a_callers_token_is_the_assertion_of_the_exchange(api, tmp_path):
    behalf = oauth2(
        grant_type=JWT_BEARER,
        client_secret={"env": "CLIENT"},
        assertion={"request_header": "Authorization"},
        token_parameters={"requested_token_use": "on_behalf_of"},
    )
    api.answers = {"behalf": ('{"access_token": "tok-1", "expires_in": 3600}',)}
    async with Running(configured({"behalf": behalf}, api), tmp_path, environ=ENVIRON) as running:
        status, _, _ = await running.ask(f"{running.url}/behalf/y")
        assert status == 401
        for caller in ("one", "two", "one"):
            headers = {"Authorization": f"bearer caller-{caller}"}
            _, _, body = await running.ask(f"{running.url}/behalf/y", headers=headers)
            assert json.loads(body)["authorization"] == "Bearer tok-1"
    assert [assertion_of(asked, "assertion") for asked in api.asked["behalf"]] == ["caller-one", "caller-two"]
    assert parse_qs(api.asked["behalf"][0][2])["requested_token_use"] == ["on_behalf_of"]


async def test_chance_and_time_stand_where_they_are_asked_for(api, tmp_path):
    made = http(
        {
            "url": "{url}/token/{now+7d:%Y-%m-%d}",
            "headers": {"X-Id": "{uuid}"},
            "json": {"id": "{uuid}", "at": "{timestamp}", "ms": "{timestamp_ms}", "now": "{now}"},
        }
    )
    api.answers = {"made": ('{"access_token": "tok-1"}',)}
    async with Running(configured({"made": made}, api), tmp_path, environ=ENVIRON) as running:
        await running.until_ready()
    ((_, target, body),) = api.asked["made"]
    said = json.loads(body)
    week = dt.datetime.now(dt.UTC) + dt.timedelta(days=7)
    assert abs((dt.datetime.fromisoformat(f"{target.removeprefix('/token/')}T00:00:00Z") - week).days) <= 1
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", said["id"])
    assert said["id"] == api.fields["made"]["X-Id"]
    assert abs(int(said["at"]) - time.time()) < 60
    assert abs(int(said["ms"]) / 1000 - time.time()) < 60
    assert abs(dt.datetime.fromisoformat(said["now"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (("locked out soon", 422), {"status": 422}),
        (('{"success": false, "why": "hush-reason"}',), {"status": 200, "body_contains": '"success": false'}),
    ],
)
async def test_a_wrong_password_is_not_tried_again_at_once(api, tmp_path, answer, rule):
    login = http({"json": {"password": "{pw}"}}, response={"refused_on": [rule]}, **SECRETS)
    api.answers = {"login": answer}
    async with Running(configured({"login": login}, api), tmp_path, environ=ENVIRON) as running:
        for _ in range(3):
            status, fields, body = await running.ask(f"{running.url}/login/y")
            assert (status, 'details="credential_refused"' in fields["Proxy-Status"]) == (502, True)
            assert b"hush" not in body
        assert len(api.asked["login"]) == 1


async def test_the_refusal_of_a_refresh_is_told_where_nothing_else_can_be_asked(api, tmp_path):
    only = {
        "type": "http",
        "refresh": {"url": "{url}/token", "form": {"t": "{refresh_token}"}},
        "initial_token": {"refresh_token": {"value": "hush-seed"}},
    }
    api.answers = {"only": ('{"error": "invalid_grant", "error_description": "hush-reason"}', 400)}
    async with Running(configured({"only": only}, api), tmp_path, environ=ENVIRON) as running:
        status, _, body = await running.ask(f"{running.url}/only/y")
        assert (status, json.loads(body)["detail"]) == (502, "The token endpoint answered 400 invalid_grant")


async def test_a_place_that_holds_nothing_is_told_by_names_and_no_value(api, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "auth_sidecar")
    odd = http({}, response={"access_token": "/data/token"})
    api.answers = {"odd": ('{"data": {"jwt": "hush-token", "ttl": "hush-ttl"}, "ok": true}',)}
    async with Running(configured({"odd": odd}, api), tmp_path, environ=ENVIRON) as running:
        status, _, body = await running.ask(f"{running.url}/odd/y")
    assert status == 503
    assert "nothing at /data/token; at /data: jwt, ttl" in caplog.text
    assert "hush" not in caplog.text + body.decode()


async def test_a_secret_that_was_replaced_goes_into_the_next_request(api, tmp_path):
    (tmp_path / "pw").write_text("one\n")
    rotated = http({"json": {"password": "{pw}"}}, secrets={"pw": {"file": "pw"}})
    api.answers = {"rotated": ('{"access_token": "tok-1", "expires_in": 3600}',)}
    async with Running(configured({"rotated": rotated}, api), tmp_path, environ=ENVIRON) as running:
        await running.until_ready()
        (tmp_path / "pw").write_text("two-2\n")
        await running.ask(f"{running.admin}/credentials/rotated/refresh", "POST")
    assert [json.loads(body)["password"] for _, _, body in api.asked["rotated"]] == ["one", "two-2"]


async def test_a_callable_signs_over_the_body_and_the_fields_of_each_request(api, tmp_path):
    (tmp_path / "own_signer.py").write_text(
        "import hashlib\n"
        "async def sign(*, method: str, headers: dict, body: bytes) -> str:\n"
        "    return f'{method} {headers[\"x-date\"]} {hashlib.sha256(body).hexdigest()}'\n"
    )
    own = {"type": "python", "callable": "own_signer:sign"}
    async with Running(configured({"own": own}, api), tmp_path, environ=ENVIRON) as running:
        for body in (b"", b"x" * 100_000, b"small"):
            how: dict[str, Any] = {"data": body} if body else {}
            status, _, seen = await running.ask(f"{running.url}/own/y", "PUT", headers={"X-Date": "today"}, **how)
            digest = hashlib.sha256(body).hexdigest()
            assert (status, json.loads(seen)["authorization"]) == (200, f"PUT today {digest}")
        status, _, _ = await running.ask(f"{running.url}/own/y", "PUT", data=io.BytesIO(b"x" * (1024 * 1024 + 1)))
        assert status == 413
