"""What this version does not do yet is refused with its place. The list in `later.py` is the table of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.full_file import ENVIRON, SMALLEST

from proxy.config.load import load_text
from proxy.config.not_implemented import NOT_IMPLEMENTED
from proxy.config.report import InvalidConfigurationError

GRANT = "urn:ietf:params:oauth:grant-type:"
CREDENTIAL, KEY, ROUTE, TOP = "credential", "key", "route", "top"

EXAMPLES: dict[str, tuple[str, str]] = {
    "credentials.*.type=oauth1": (CREDENTIAL, "type: oauth1, consumer_key: k, consumer_secret: {env: KEY}"),
    "credentials.*.type=query": (CREDENTIAL, "type: query, name: q, value: {env: KEY}"),
    "credentials.*.type=basic": (CREDENTIAL, "type: basic, username: u, password: {env: KEY}"),
    "credentials.*.type=external": (CREDENTIAL, "type: external, update: {secret: {env: KEY}}"),
    "credentials.*.type=direct_line": (CREDENTIAL, "type: direct_line, secret: {env: KEY}"),
    "credentials.*.type=jwt": (CREDENTIAL, "type: jwt, key: {env: KEY}"),
    "credentials.*.type=exec": (CREDENTIAL, "type: exec, command: [x]"),
    "credentials.*.type=http": (CREDENTIAL, "type: http, obtain: {url: 'https://a'}"),
    "credentials.*.type=python": (CREDENTIAL, "type: python, callable: 'a:b'"),
    "credentials.*.grant_type=refresh_token": (KEY, "grant_type: refresh_token\n    refresh_token: {env: KEY}"),
    "credentials.*.grant_type=password": (KEY, "grant_type: password\n    username: u\n    password: {env: KEY}"),
    f"credentials.*.grant_type={GRANT}jwt-bearer": (KEY, f"grant_type: {GRANT}jwt-bearer\n    assertion: {{env: KEY}}"),
    f"credentials.*.grant_type={GRANT}token-exchange": (
        KEY,
        f"grant_type: {GRANT}token-exchange\n    subject_token: {{env: KEY}}",
    ),
    "credentials.*.token_endpoint_auth_method=client_secret_jwt": (
        KEY,
        "token_endpoint_auth_method: client_secret_jwt",
    ),
    "credentials.*.token_endpoint_auth_method=private_key_jwt": (
        CREDENTIAL,
        "type: oauth2, token_endpoint: 'https://a', client_id: c, client_assertion_key: {env: KEY}",
    ),
    "credentials.*.token_endpoint_auth_method=tls_client_auth": (KEY, "token_endpoint_auth_method: tls_client_auth"),
    "credentials.*.issuer": (CREDENTIAL, "type: oauth2, issuer: 'https://a', client_id: c, client_secret: {env: KEY}"),
    "credentials.*.initial_token": (KEY, "initial_token: {access_token: {env: KEY}}"),
    "credentials.*.per": (KEY, "per: {header: X-T}"),
    "credentials.*.subject_token": (KEY, f"grant_type: {GRANT}token-exchange\n    subject_token: {{env: KEY}}"),
    "credentials.*.dpop": (KEY, "dpop: true"),
    "credentials.*.update": (KEY, "update: {secret: {env: KEY}}"),
    "credentials.*.vend": (KEY, "vend: true"),
    "credentials.*.query": (KEY, "query: token"),
    "credentials.*.via_proxy": (KEY, "via_proxy: {url: 'http://a'}"),
    "credentials.*.tls": (KEY, "tls: {server_name: a}"),
    "credentials.*.authorization_endpoint": (KEY, "authorization_endpoint: 'https://a'"),
    "credentials.*.device_authorization_endpoint": (KEY, "device_authorization_endpoint: 'https://a'"),
    "credentials.*.redirect_port": (KEY, "redirect_port: 8765"),
    "<secret>.exec": (CREDENTIAL, "type: bearer, token: {exec: [x]}"),
    "<secret>.credential": (CREDENTIAL, "type: bearer, token: {credential: crm}"),
    "store.type=file": (TOP, "store: {type: file, path: s}"),
    "routes.*.upstream.discover": (ROUTE, "upstream: {discover: {url: 'https://a', allow_hosts: [a]}}"),
    "routes.*.via_proxy": (ROUTE, "upstream: https://a, via_proxy: {url: 'http://a'}"),
    "routes.*.rewrite_response": (ROUTE, "upstream: https://a, rewrite_response: {location: true}"),
    "routes.*.cors": (ROUTE, "upstream: https://a, cors: {allow_origins: ['*']}"),
    "routes.*.on_token_expiry": (ROUTE, "upstream: https://a, on_token_expiry: close"),
    "routes.*.limits.rate": (ROUTE, "upstream: https://a, limits: {rate: 1/s}"),
    "listen.*.tls": (TOP, "listen: {address: '127.0.0.1:1', tls: {cert_file: c.yaml, key_file: c.yaml}}"),
    "listen.*.address=unix:*": (TOP, "listen: unix:/a/s"),
    "listen.1": (TOP, "listen: [127.0.0.1:1, 127.0.0.1:2]"),
    "reuse_port": (TOP, "reuse_port: true"),
    "admin.listen=unix:*": (TOP, "admin: {listen: unix:/a/s}"),
    "callers.bearer": (TOP, "callers: {bearer: {env: KEY}}"),
    "callers.unix_uids": (TOP, "listen: unix:/a/s\ncallers: {unix_uids: [1]}"),
    "health": (TOP, "health: {listen: 127.0.0.1:9}"),
    "update": (TOP, "update: {listen: 127.0.0.1:9, allow_insecure: true}"),
}
"""A use of every feature that was ever on the list."""

DEFAULTS = """\
reuse_port: false
store: {type: memory}
callers: any
"""


def written(kind: str, text: str) -> str:
    match kind:
        case "credential":
            return f"{SMALLEST}  exec: {{{text}}}\n"
        case "key":
            return f"{SMALLEST}    {text}\n".replace("    grant_type: client_credentials\n", "", "grant_type" in text)
        case "route":
            return SMALLEST.replace("credentials:\n", f"  - {{match: /x, {text}}}\ncredentials:\n")
    return f"{SMALLEST}{text}\n"


def refused(text: str, later: tuple[str, ...]) -> list[str]:
    try:
        load_text(text, name="c.yaml", directory=Path("/nowhere"), environ=ENVIRON, later=later)
    except InvalidConfigurationError as error:
        return [p.path for p in error.problems if "not built yet" in p.message]
    return []


@pytest.mark.parametrize("line", EXAMPLES)
def test_a_line_refuses_its_feature_and_without_the_line_it_is_taken(line):
    text = written(*EXAMPLES[line])
    (path,) = refused(text, (line,))
    assert path
    assert refused(text, ()) == []


@pytest.mark.parametrize("line", NOT_IMPLEMENTED)
def test_what_is_on_the_list_is_refused(line):
    assert refused(written(*EXAMPLES[line]), NOT_IMPLEMENTED)


def test_the_defaults_of_what_is_not_built_yet_may_be_written_down():
    text = written("key", "vend: false\n    dpop: false\n    query: null\n    grant_type: client_credentials")
    text = text.replace("    credential: crm\n", "    credential: crm\n    on_token_expiry: keep\n") + DEFAULTS
    assert refused(text, NOT_IMPLEMENTED) == []


def test_names_of_the_users_own_are_not_mistaken_for_features():
    """A credential called `exec`, a route's `credential`, a header called `update`."""
    text = SMALLEST.replace("    credential: crm\n", "    credential: exec\n    headers: {set: {exec: a, update: b}}\n")
    assert refused(text + "  exec: {type: bearer, token: {env: KEY}}\n", NOT_IMPLEMENTED) == []
