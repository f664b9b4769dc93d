"""A page that the user has open must not spend our credentials."""

from __future__ import annotations

import pytest
from support.front import request

from proxy.http1.cross_site import is_cross_site, wanted_method
from proxy.http1.request import read_request


@pytest.mark.parametrize(
    ("found", "cross"),
    [
        ({}, False),
        ({b"sec-fetch-site": [b"same-origin"]}, False),
        ({b"sec-fetch-site": [b"none"]}, False),
        ({b"sec-fetch-site": [b"same-site"]}, True),
        ({b"sec-fetch-site": [b"cross-site"]}, True),
        ({b"sec-fetch-site": [b"none", b"cross-site"]}, True),
        ({b"sec-fetch-site": [b""]}, True),
        ({b"origin": [b"http://localhost:8080"]}, False),
        ({b"origin": [b"https://localhost:8080"]}, True),
        ({b"origin": [b"http://localhost"]}, True),
        ({b"origin": [b"null"]}, True),
        ({b"origin": [b"http://localhost:8080", b"http://localhost:8080"]}, True),
    ],
)
def test_what_is_another_sites(found, cross):
    assert is_cross_site(found, b"http://localhost:8080") is cross


@pytest.mark.parametrize(
    ("origin", "own", "cross"),
    [
        (b"http://localhost:8080", b"http://LOCALHOST:8080", False),
        (b"http://localhost", b"http://localhost:80", False),
        (b"http://localhost:80", b"http://localhost", False),
        (b"https://side.example", b"https://side.example:443", False),
        (b"http://[::1]:8080", b"http://[0:0:0:0:0:0:0:1]:8080", False),
        (b"HTTP://localhost", b"http://localhost", False),
        (b"http://localhost:443", b"http://localhost", True),
        (b"https://localhost:80", b"http://localhost:80", True),
        (b"http://localhost:443", b"https://localhost:443", True),
        (b"http://localhost/", b"http://localhost", True),
        (b"http://user@localhost", b"http://localhost", True),
        (b"http://localhost.", b"http://localhost", True),
        (b"localhost", b"http://localhost", True),
        (b"http://", b"http://", True),
        (b"", b"http://", True),
        (b"null", b"http://null", True),
    ],
)
def test_two_spellings_of_one_origin_are_one_and_no_host_is_nobodys(origin, own, cross):
    assert is_cross_site({b"origin": [origin]}, own) is cross


@pytest.mark.parametrize(
    ("method", "fields", "wanted"),
    [
        ("OPTIONS", ("Origin: https://a", "Access-Control-Request-Method: PUT"), b"PUT"),
        ("OPTIONS", ("Origin: https://a", "Access-Control-Request-Method: x-Own"), b"x-Own"),
        ("GET", ("Origin: https://a", "Access-Control-Request-Method: PUT"), None),
        ("options", ("Origin: https://a", "Access-Control-Request-Method: PUT"), None),
        ("OPTIONS", ("Access-Control-Request-Method: PUT",), None),
        ("OPTIONS", ("Origin: https://a",), None),
        ("OPTIONS", ("Origin: https://a", "Origin: https://a", "Access-Control-Request-Method: PUT"), None),
        ("OPTIONS", ("Origin: https://a", *["Access-Control-Request-Method: PUT"] * 2), None),
        ("OPTIONS", ("Origin: https://a", "Access-Control-Request-Method:"), None),
        ("OPTIONS", ("Origin: https://a", "Access-Control-Request-Method: PUT, GET"), None),
        ("OPTIONS", ("Origin: https://a", "Access-Control-Request-Method: P T"), None),
    ],
)
def test_what_a_preflight_is(method, fields, wanted):
    head = read_request(request(method, "/crm", *fields), 0, 4096, 50)
    assert head is not None
    assert wanted_method(head) == wanted
