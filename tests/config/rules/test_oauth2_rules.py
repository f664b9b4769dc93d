"""OAuth 2: what each grant and each way of client authentication needs, and what does not belong to it."""

from __future__ import annotations

import pytest
from support.full_file import credential_of, errors_of, load_all

END = "token_endpoint: https://i.example/token"
SECRET = "client_id: c, client_secret: {env: KEY}"
GRANT = "urn:ietf:params:oauth:grant-type:"


def one(keys: str) -> str:
    return (
        f"routes: [{{match: /, upstream: 'https://a.b', credential: c}}]\ncredentials:\n  c: {{type: oauth2, {keys}}}\n"
    )


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        (SECRET, "", "`token_endpoint`, or `issuer`"),
        (f"{END}, issuer: https://i.example, {SECRET}", ".token_endpoint", "not both"),
        (f"token_endpoint: http://i.example/token, {SECRET}", ".token_endpoint", "over http://"),
        (f"issuer: http://i.example, {SECRET}", ".issuer", "over http://"),
        (f"issuer: 'https://i.example?a', {SECRET}", ".issuer", "no query"),
        (f"token_endpoint: i.example/token, {SECRET}", ".token_endpoint", "https://"),
        (f"{END}, client_secret: {{env: KEY}}", "", "needs `client_id`"),
        (
            f"{END}, client_id: c, client_secret: {{env: KEY}}, token_endpoint_auth_method: none",
            ".client_secret",
            "does not belong",
        ),
        (f"{END}, client_id: c, token_endpoint_auth_method: client_secret_basic", "", "needs `client_secret`"),
        (f"{END}, client_id: c, token_endpoint_auth_method: client_secret_post", "", "needs `client_secret`"),
        (f"{END}, client_id: c, token_endpoint_auth_method: client_secret_jwt", "", "needs `client_secret`"),
        (f"{END}, client_id: c, token_endpoint_auth_method: private_key_jwt", "", "needs `client_assertion_key`"),
        (
            f"{END}, client_id: c, client_assertion_key: {{env: KEY}}, client_assertion: {{env: KEY}}",
            ".client_assertion",
            "not both",
        ),
        (f"{END}, client_id: c, token_endpoint_auth_method: tls_client_auth", "", "needs `tls`"),
        (f"{END}, client_id: c, token_endpoint_auth_method: tls_client_auth, tls: {{}}", ".tls", "`cert_file`"),
        (f"{END}, {SECRET}, client_assertion_key: {{env: KEY}}", ".client_assertion_key", "does not belong"),
        (
            f"{END}, {SECRET}, token_endpoint_auth_method: client_secret_post, basic_encoding: raw",
            ".basic_encoding",
            "belongs to",
        ),
        (
            f"{END}, {SECRET}, token_endpoint_auth_method: client_secret_jwt, token_endpoint_auth_signing_alg: RS256",
            ".token_endpoint_auth_signing_alg",
            "HS256",
        ),
        (
            f"{END}, client_id: c, client_assertion_key: {{env: KEY}}, token_endpoint_auth_signing_alg: HS256",
            ".token_endpoint_auth_signing_alg",
            "RS256",
        ),
        (f"{END}, {SECRET}, grant_type: client_credential", ".grant_type", "did you mean `client_credentials`?"),
        (f"{END}, {SECRET}, grant_type: refresh_token", "", "needs `refresh_token`"),
        (f"{END}, {SECRET}, refresh_token: {{env: KEY}}", ".refresh_token", "does not belong"),
        (f"{END}, {SECRET}, grant_type: password, username: u", "", "needs `password`"),
        (f"{END}, {SECRET}, grant_type: password, password: {{env: KEY}}", "", "needs `username`"),
        (f"{END}, {SECRET}, username: u", ".username", "does not belong"),
        (f"{END}, {SECRET}, grant_type: '{GRANT}jwt-bearer'", "", "needs `assertion`"),
        (
            f"{END}, grant_type: '{GRANT}jwt-bearer', assertion: {{key: {{env: KEY}}, alg: none}}",
            ".assertion.alg",
            "no algorithm",
        ),
        (
            f"{END}, grant_type: '{GRANT}jwt-bearer', assertion: {{key: {{env: KEY}}, env: KEY}}",
            ".assertion.key",
            "one source",
        ),
        (f"{END}, {SECRET}, grant_type: '{GRANT}token-exchange'", "", "needs `subject_token`"),
        (
            f"{END}, {SECRET}, grant_type: '{GRANT}token-exchange', subject_token: {{}}",
            ".subject_token",
            "refers to nothing",
        ),
        (
            f"{END}, {SECRET}, grant_type: '{GRANT}token-exchange', subject_token: {{request_header: 'a b'}}",
            ".subject_token.request_header",
            "no name",
        ),
        (f"{END}, {SECRET}, actor_token: {{env: KEY}}", ".actor_token", "token-exchange"),
        (f"{END}, {SECRET}, scope: 'a  b'", ".scope", "no scope"),
        (f"{END}, {SECRET}, scope: ''", ".scope", "no scope"),
        (f"{END}, {SECRET}, scope: [a]", ".scope", "a string"),
        (f"{END}, {SECRET}, resource: ['/x']", ".resource[0]", "absolute URI"),
        (f"{END}, {SECRET}, resource: ['https://a#b']", ".resource[0]", "absolute URI"),
        (f"{END}, {SECRET}, redirect_port: 70000", ".redirect_port", "65535"),
        (f"{END}, {SECRET}, dpop: {{htu_base: x}}", ".dpop.htu_base", "https://"),
        (f"{END}, {SECRET}, dpop: yes", ".dpop", "true or false"),
        (f"{END}, {SECRET}, dpop: true, query: t", ".query", "beside its proof"),
        (f"{END}, {SECRET}, dpop: {{alg: ES384}}, query: t", ".query", "beside its proof"),
        (f"{END}, {SECRET}, subject_token_type: x", ".subject_token_type", "goes with `subject_token`"),
        (
            f"{END}, {SECRET}, grant_type: '{GRANT}token-exchange', subject_token: {{env: KEY}}, actor_token_type: x",
            ".actor_token_type",
            "goes with `actor_token`",
        ),
        (f"{END}, {SECRET}, expires_in: 5", ".expires_in", "unknown key"),
    ],
)
def test_a_credential_that_cannot_work_is_refused_with_its_place(keys, path, said):
    errors = errors_of(one(keys))
    assert [error.path for error in errors] == [f"credentials.c{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


@pytest.mark.parametrize(
    ("keys", "method"),
    [
        (f"{END}, {SECRET}", "client_secret_basic"),
        (f"{END}, client_id: c", "none"),
        (f"{END}, client_id: c, client_assertion_key: {{env: KEY}}", "private_key_jwt"),
        (f"{END}, client_assertion: {{env: KEY}}", "private_key_jwt"),
        (f"{END}, {SECRET}, token_endpoint_auth_method: client_secret_post", "client_secret_post"),
        (f"{END}, grant_type: '{GRANT}jwt-bearer', assertion: {{env: KEY}}", "none"),
        (
            f"{END}, {SECRET}, grant_type: refresh_token, initial_token: {{refresh_token: {{env: KEY}}}}",
            "client_secret_basic",
        ),
        (f"issuer: http://127.0.0.1:9, {SECRET}, grant_type: refresh_token", "client_secret_basic"),
    ],
)
def test_what_is_not_said_of_the_client_follows_from_what_is_given(keys, method):
    assert credential_of(load_all(one(keys)), "c").token_endpoint_auth_method == method


ASSERTED = f"{END}, grant_type: '{GRANT}jwt-bearer'"


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        (f"refresh_endpoint: http://i.example/r, {END}, {SECRET}", ".refresh_endpoint", "allow_insecure: true"),
        (f"{END}, {SECRET}, token_request: {{format: xml}}", ".token_request.format", "form, json or query"),
        (
            f"{END}, {SECRET}, token_request: {{names: {{client_ids: x}}}}",
            ".token_request.names.client_ids",
            "did you mean `client_id`",
        ),
        (f"{END}, {SECRET}, token_request: {{names: {{scope: ''}}}}", ".token_request.names.scope", "needs a name"),
        (f"{END}, {SECRET}, token_request: {{headers: {{'a b': x}}}}", ".token_request.headers.a b", "no name"),
        (f"{END}, {SECRET}, token_request: {{headers: {{DPoP: x}}}}", ".token_request.headers", "written by"),
        (f"{END}, {SECRET}, client_assertion_certificate: {{env: KEY}}", ".client_assertion_certificate", "belong"),
        (f"{END}, {SECRET}, client_assertion_claims: {{a: b}}", ".client_assertion_claims", "belong"),
        (f"{END}, {SECRET}, key_password: {{env: KEY}}", ".key_password", "belong"),
        (f"{END}, {SECRET}, key_encoding: hex", ".key_encoding", "belong"),
        (
            f"{END}, client_id: c, client_assertion_key: {{env: KEY}}, client_assertion_headers: {{alg: x}}",
            ".client_assertion_headers.alg",
            "by itself",
        ),
        (f"{ASSERTED}, assertion: {{request_header: 'a b'}}", ".assertion.request_header", "no name"),
        (f"{ASSERTED}, assertion: {{env: KEY, claims: {{a: b}}}}", ".assertion.claims", "signed here"),
        (f"{ASSERTED}, assertion: {{key: {{env: KEY}}, headers: {{alg: x}}}}", ".assertion.headers.alg", "by itself"),
        (f"{ASSERTED}, assertion: {{key: {{env: KEY}}, key_encoding: hex}}", ".assertion.key_encoding", "HS256"),
        (
            f"{ASSERTED}, assertion: {{key: {{env: KEY}}, alg: HS256, key_password: {{env: KEY}}}}",
            ".assertion.key_password",
            "private key",
        ),
        (
            f"{ASSERTED}, assertion: {{key: {{env: KEY}}, google_service_account: {{env: KEY}}}}",
            ".assertion.google_service_account",
            "one source",
        ),
    ],
)
def test_what_a_dialect_cannot_mean_is_refused_with_its_place(keys, path, said):
    (error,) = errors_of(one(keys))
    assert error.path == f"credentials.c{path}", error
    assert said in error.message + (error.hint or "")


def test_a_google_service_account_needs_no_token_endpoint():
    text = one(f"grant_type: '{GRANT}jwt-bearer', assertion: {{google_service_account: {{env: KEY}}}}")
    assert credential_of(load_all(text), "c").token_endpoint == "https://oauth2.googleapis.com/token"


def test_plain_http_is_allowed_on_purpose():
    assert errors_of(one(f"token_endpoint: http://keycloak.auth.svc/token, {SECRET}, allow_insecure: true")) == []
