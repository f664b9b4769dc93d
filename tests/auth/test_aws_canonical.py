"""Canonical requests: Amazon's own test suite (`aws-sig-v4-test-suite`) by its figures."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from proxy.auth.aws_canonical import (
    canonical_fields,
    canonical_path,
    canonical_query,
    canonical_request,
    presigned_scope,
    without_presigning,
)

EMPTY = hashlib.sha256(b"").hexdigest().encode()
SECRET = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def signing_key(*parts: str) -> bytes:
    key = b"AWS4" + SECRET
    for part in (*parts, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(method: bytes, target: bytes) -> str:
    """With the keys, the time and the fields that all requests of the suite share."""
    section = b"\r\nHost:example.amazonaws.com\r\n"
    lines, names = canonical_fields(section, [(b"x-amz-date", b"20150830T123600Z")])
    covered = canonical_request(method, target, lines, names, EMPTY, "service")
    scope = "20150830/us-east-1/service/aws4_request"
    text = f"AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{hashlib.sha256(covered).hexdigest()}"
    return hmac.digest(signing_key("20150830", "us-east-1", "service"), text.encode(), "sha256").hex()


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (b"POST", b"/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (b"GET", b"/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        (b"GET", b"/?Param1=value2&Param1=value1", "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order-key-case", "get-vanilla-query-order-value"],
)
def test_a_request_of_the_suite_has_the_signature_that_the_suite_gives(method, target, expected):
    assert signature(method, target) == expected


@pytest.mark.parametrize(
    ("path", "service", "expected"),
    [
        (b"/a/b-._~", "dynamodb", b"/a/b-._~"),
        (b"", "dynamodb", b"/"),
        (b"/a%20b", "dynamodb", b"/a%2520b"),
        (b"/a%20b", "s3", b"/a%20b"),
        (b"/a(b", "s3", b"/a%28b"),
        (b"/a%28b", "s3", b"/a%28b"),
        (b"/a%2fb", "s3", b"/a/b"),
        (b"/a//b/../c/./", "s3", b"/a//b/../c/./"),
        (b"/a//b/../c/./", "dynamodb", b"/a/c/"),
        (b"/../..", "dynamodb", b"/"),
        (b"/.well-known/x", "dynamodb", b"/.well-known/x"),
        (b"/\xc3\xbc", "s3", b"/%C3%BC"),
    ],
)
def test_a_path_is_encoded_twice_and_resolved_but_for_s3(path, service, expected):
    assert canonical_path(path, service) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", b""),
        (b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&a=1&a", b"a=&a=1&a=2"),
        (b"k=%2f&k=/", b"k=%2F&k=%2F"),
        (b"a+b=c d", b"a%2Bb=c%20d"),
        (b"&&x=&", b"x="),
        (b"A=1&a=2&a-b=3", b"A=1&a=2&a-b=3"),
        (b"x==", b"x=%3D"),
    ],
)
def test_a_query_is_sorted_and_each_spelling_of_an_octet_is_signed_alike(query, expected):
    assert canonical_query(query) == expected


def test_host_content_type_and_every_amz_field_are_signed_and_nothing_else():
    section = (
        b"\r\nHost: h\r\nUser-Agent: u\r\nX-AMZ-Meta-B:  two   words \r\ncontent-type: a/b\r\nx-amz-meta-b: more\r\n"
        b"X-Amzn-Trace-Id: t\r\nContent-MD5: m\r\n"
    )
    lines, names = canonical_fields(section, [(b"x-amz-date", b"D")])
    assert names == b"content-md5;content-type;host;x-amz-date;x-amz-meta-b"
    assert lines == b"content-md5:m\ncontent-type:a/b\nhost:h\nx-amz-date:D\nx-amz-meta-b:two words,more\n"


def test_a_signature_in_the_query_is_found_and_cut():
    target = b"/k?X-Amz-Credential=a%2F20260101%2Fr%2Fs3%2Faws4_request&x=1&X-Amz-Signature=0&X-Amz-SignedHeaders=host"
    assert presigned_scope(target) == b"a/20260101/r/s3/aws4_request"
    assert without_presigning(target) == b"/k?x=1"
    assert presigned_scope(b"/k?x=1") is None
    assert without_presigning(b"/k") == b"/k"
