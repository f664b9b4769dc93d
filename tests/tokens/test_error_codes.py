from __future__ import annotations

import pytest

from proxy.tokens.error_codes import PERMANENT, TRANSIENT, concerns_grant, registered


def test_every_code_of_rfc_6749_is_registered():
    """RFC 6749 §5.2 and §4.1.2.1."""
    codes = ["invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"]
    for code in [*codes, "invalid_scope", "access_denied", "unsupported_response_type"]:
        assert registered(code) == code
        assert code in PERMANENT
    assert {"server_error", "temporarily_unavailable"} < TRANSIENT


@pytest.mark.parametrize(
    "code",
    ["invalid_target", "invalid_authorization_details", "invalid_dpop_proof", "expired_token", "interaction_required"],
)
def test_the_codes_of_its_extensions_are_registered_too(code):
    """RFC 8707 §2, RFC 9396 §5, RFC 9449 §5, RFC 8628 §3.5, OpenID Connect Core §3.1.2.6."""
    assert code in PERMANENT


@pytest.mark.parametrize(
    "error", ["made_up", "", "INVALID_GRANT", "invalid_grant ", None, 17, True, ["invalid_grant"], {}]
)
def test_what_is_registered_nowhere_is_no_code(error):
    assert registered(error) is None


def test_no_code_is_both():
    assert not PERMANENT & TRANSIENT


def test_githubs_own_words_are_understood():
    assert registered("bad_refresh_token") == "invalid_grant"
    assert registered("incorrect_client_credentials") == "invalid_client"


def test_only_a_refusal_of_the_client_and_what_passes_say_nothing_of_the_grant():
    for code in PERMANENT | TRANSIENT | {None}:
        assert concerns_grant(code) is (code != "invalid_client" and code not in TRANSIENT)
