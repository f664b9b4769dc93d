from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.problem import problem_body, problem_fields, problem_type, proxy_status, proxy_status_of_upstream, quoted


def _kinds(kind: type[errors.ProxyError] = errors.ProxyError) -> list[type[errors.ProxyError]]:
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(deeper for child in below for deeper in _kinds(child))]


def test_the_document_has_all_seven_members():
    body = problem_body(errors.NoRoute(), instance=b"/crm/a?key=s3cret", route=None, credential=None)

    assert json.loads(body) == {
        "type": "urn:auth-sidecar:problem:no-route",
        "title": "No route",
        "status": 404,
        "detail": "No route",
        "instance": "/crm/a",
        "route": None,
        "credential": None,
    }


def test_route_and_credential_are_named():
    document = json.loads(problem_body(errors.LimitReached("Full."), instance=b"/x", route="crm", credential="key"))

    assert (document["route"], document["credential"], document["detail"]) == ("crm", "key", "Full.")


@pytest.mark.parametrize(
    ("target", "instance"),
    [
        (b"/a/b?token=s3cret", "/a/b"),
        (b"http://user:s3cret@host:80/a?b", "/a"),
        (b"http://host", ""),
        (b"*", "*"),
        (b"/a%2Fb;v=1", "/a%2Fb;v=1"),
        (b'/\xe9"<', "/%E9%22%3C"),
    ],
)
def test_the_instance_is_the_path_and_nothing_else(target, instance):
    assert json.loads(problem_body(errors.NoRoute(), instance=target))["instance"] == instance


@given(st.binary())
def test_any_target_makes_a_document(target):
    instance = json.loads(problem_body(errors.MalformedRequest(), instance=target))["instance"]

    assert instance.isascii()
    assert "?" not in instance


def test_every_kind_of_error_has_a_type_of_its_own():
    kinds = _kinds()

    assert len({problem_type(kind) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("kind", _kinds())
def test_every_kind_of_error_can_be_told(kind):
    value = proxy_status(kind("secret stays inside"))

    assert value.startswith(b"auth-sidecar; error=" + kind.error.encode())
    assert b"secret" not in value


def test_our_own_reason_stands_in_details():
    expected = b'auth-sidecar; error=proxy_internal_response; details="limit_reached"'

    assert proxy_status(errors.LimitReached()) == expected


def test_an_answer_of_the_upstream_names_its_status():
    expected = b'auth-sidecar; received-status=401; details="credential_unavailable"'

    assert proxy_status_of_upstream(401, "credential_unavailable") == expected


def test_quotes_and_backslashes_are_escaped():
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'


@given(st.text())
def test_a_quoted_string_never_breaks_the_field(text):
    inner = quoted(text)[1:-1]

    assert all("\x20" <= character <= "\x7e" for character in inner)
    assert '"' not in inner.replace("\\\\", "").replace('\\"', "")


def test_the_fields_carry_what_the_error_adds():
    fields = problem_fields(errors.CredentialUnavailable(retry_after=2.5), b"12345")

    assert fields == [
        (b"Content-Type", b"application/problem+json"),
        (b"Content-Length", b"5"),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b'auth-sidecar; error=proxy_internal_response; details="credential_unavailable"'),
        (b"Retry-After", b"3"),
    ]
