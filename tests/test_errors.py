from __future__ import annotations

import inspect

import pytest

from proxy import errors
from proxy.errors import (
    CallerUnknown,
    ClientError,
    CredentialError,
    CredentialRefused,
    CredentialUnavailable,
    LimitReached,
    NoRoute,
    ProxyError,
    UpstreamError,
)

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, ProxyError)]

REGISTERED = {
    # RFC 9209 §2.3, as registered with IANA
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
}


def made(cls: type[ProxyError]) -> ProxyError:
    return cls("one sentence")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_knows_its_status_its_registered_type_and_a_title_for_people(cls):
    assert cls.error in REGISTERED
    assert 400 <= cls.status <= 599
    assert cls.title[0].isupper()
    assert inspect.getdoc(cls)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, ClientError)])
def test_what_the_app_caused_is_a_4xx_unless_http_itself_asks_for_more_than_we_have(cls):
    assert cls.status < 500 or cls.status in {501, 505}


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, UpstreamError)])
def test_what_the_upstream_caused_is_a_502_or_a_504_and_leaves_the_app_s_connection_alone(cls):
    assert cls.status == (504 if "timeout" in cls.error else 502)
    assert not cls.close


def test_a_request_whose_end_is_unknown_costs_the_connection_and_a_refused_one_does_not():
    closing = {cls.__name__ for cls in CLASSES if cls.close}
    assert {"MalformedRequest", "RequestHeadTooLarge", "RequestTargetTooLong", "UnknownTransferCoding"} <= closing
    assert not {"NoRoute", "RouteMethodRefused", "RequestDenied", "CallerUnknown", "LimitReached"} & closing


def test_details_tell_credential_errors_apart():
    assert (CredentialUnavailable.status, CredentialUnavailable.details) == (503, "credential_unavailable")
    assert (CredentialRefused.status, CredentialRefused.details) == (502, "credential_refused")
    assert (LimitReached.status, LimitReached.details) == (503, "limit_reached")
    assert not issubclass(CallerUnknown, CredentialError)


@pytest.mark.parametrize(("seconds", "written"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (59.5, 60), (300.0, 300)])
def test_retry_after_is_in_whole_seconds_and_never_too_early(seconds, written):
    error = CredentialUnavailable("the issuer is away", retry_after=seconds)
    assert error.retry_after == written
    assert error.headers == (("Retry-After", str(written)),)


def test_a_reached_limit_says_when_to_come_again():
    assert LimitReached("500 requests in flight").headers == (("Retry-After", "1"),)
    assert LimitReached("100 requests a second", retry_after=7).headers == (("Retry-After", "7"),)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_detail_is_what_is_said_and_the_title_where_nothing_is(cls):
    assert made(cls).detail == str(made(cls)) == "one sentence"
    assert cls().detail == str(cls()) == cls.title


def test_extra_fields_travel_with_the_error():
    assert NoRoute("nothing at /x", headers=(("X-Hint", "y"),)).headers == (("X-Hint", "y"),)
    assert NoRoute().headers == ()
