"""What only routes meet whose upstream is looked up or lies behind an egress proxy, and what ends with the program."""

from __future__ import annotations

import inspect

import pytest

from proxy.errors import ProxyError
from proxy.forward import directory_errors
from proxy.problem import proxy_status

CLASSES = [
    kind
    for _, kind in inspect.getmembers(directory_errors, inspect.isclass)
    if kind.__module__ == directory_errors.__name__
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_branch_of_the_tree_and_leaves_the_app_s_connection_alone(kind):
    assert issubclass(kind, ProxyError)
    assert kind.status in {502, 503}
    assert kind.close is (kind is directory_errors.ShuttingDown)


def test_who_may_come_again_is_told_when_in_whole_seconds():
    assert directory_errors.DirectoryUnavailable(retry_after=12.1).headers == (("Retry-After", "13"),)
    assert directory_errors.DirectoryUnavailable().headers == (("Retry-After", "1"),)
    assert directory_errors.DirectoryRefused().headers == ()


def test_a_proxy_that_wants_a_password_says_so_under_a_registered_name_and_our_own_reason():
    for named in (True, False):
        told = proxy_status(directory_errors.EgressDenied(named=named))
        assert told == b'auth-sidecar; error=proxy_configuration_error; details="egress_proxy_authentication"'


def test_what_the_directory_named_is_for_the_operator_only():
    error = directory_errors.DirectoryRefused("It names another host", named="https://evil.example")
    assert error.named == "https://evil.example"
    assert "evil" not in str(error) + error.detail


def test_the_registered_names_tell_a_directory_that_is_down_from_one_that_names_nothing_of_use():
    assert proxy_status(directory_errors.DirectoryUnavailable()).startswith(
        b"auth-sidecar; error=destination_unavailable;"
    )
    assert proxy_status(directory_errors.DirectoryRefused()).startswith(b"auth-sidecar; error=destination_not_found;")
    assert proxy_status(directory_errors.AddressProhibited()) == b"auth-sidecar; error=destination_ip_prohibited"
