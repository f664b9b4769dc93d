"""AWS Signature Version 4: botocore is the second opinion."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import string
from email.utils import formatdate
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from support.signing import WALL, answer, moment, token

from proxy.auth.aws_keys import AwsKeys, as_text
from proxy.auth.aws_sigv4 import AllowedScopes, SigV4Scheme
from proxy.errors import CredentialRefused, RequestBodyTooLarge, RequestDenied
from proxy.model import Request, Verdict

KEYS = AwsKeys(access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION = AwsKeys(access_key_id="ASIAEXAMPLE", secret_access_key="s3cr3t/+=", session_token="FwoGZXIvYXdzE//+=")
NOTHING = token("")
HOST = b"api.example"


def scheme(service="execute-api", region="us-east-1", payload="signed", keys=KEYS, **lists):
    return SigV4Scheme(AllowedScopes(region, service, **lists), payload, keys)


def request(method=b"GET", target=b"/", body=b"", fields=(), received=(), received_target=b""):
    lines = b"".join(b"%b: %b\r\n" % field for field in ((b"Host", HOST), *fields))
    came = b"".join(b"%b: %b\r\n" % field for field in received)
    return Request(
        method, "https", HOST, target, None, body,
        section=b"\r\n" + lines, received_section=b"\r\n" + came, received_target=received_target or target,
    )  # fmt: skip


def placed(target):
    return scheme().place(request(target=target), NOTHING, moment()).target


def signed(one, by=None, at=WALL, keys=NOTHING):
    return {name.lower(): value for name, value in (by or scheme()).sign(one, keys, moment(at))}


def by_botocore(monkeypatch, service, method, target, body, fields, keys, payload="signed", at=WALL):
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: dt.datetime.fromtimestamp(at, dt.UTC))
    kind = botocore.auth.S3SigV4Auth if service.startswith("s3") else botocore.auth.SigV4Auth
    url = f"https://{HOST.decode()}{target.decode()}"
    headers = {name.decode(): value.decode() for name, value in fields}
    one = AWSRequest(method.decode(), url, headers=headers, data=body)
    one.context["client_config"] = None
    if payload == "unsigned":
        one.context["payload_signing_enabled"] = False
    if not service.startswith("s3"):
        one.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    kind(credentials, service, "us-east-1").add_auth(one)
    return one.headers


class TestAgainstBotocore:
    """The same request, key and moment give the same signature."""

    @pytest.mark.parametrize("service", ["execute-api", "dynamodb", "s3", "s3-object-lambda"])
    def test_ten_thousand_random_requests_are_signed_as_botocore_signs_them(self, service, monkeypatch):
        chance = random.Random(service)
        for _ in range(2500):
            method, target, body, fields = _random_request(chance, s3=service.startswith("s3"))
            keys = chance.choice((KEYS, SESSION))
            expected = by_botocore(monkeypatch, service, method, target, body, fields, keys)
            got = signed(request(method, target, body, fields), scheme(service, keys=keys))
            assert got[b"authorization"].decode() == expected["Authorization"], (method, target, fields)
            assert got[b"x-amz-date"].decode() == expected["X-Amz-Date"]
            assert got[b"x-amz-content-sha256"].decode() == expected["X-Amz-Content-SHA256"]

    def test_a_body_of_s3_may_go_unsigned(self, monkeypatch):
        fields = [(b"Content-MD5", b"x")]
        expected = by_botocore(monkeypatch, "s3", b"PUT", b"/b/k", b"whole", fields, KEYS, payload="unsigned")
        assert expected["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
        got = signed(request(b"PUT", b"/b/k", None, fields), scheme("s3", payload="unsigned"))
        assert got[b"authorization"].decode() == expected["Authorization"]


def _random_request(chance, *, s3):
    letters = string.ascii_letters + string.digits + "-._~"
    odd = letters + " /+&=%@!'()*:,ü€\x01"
    segments = ["".join(chance.choices(odd, k=chance.randrange(6))) for _ in range(chance.randrange(5))]
    path = "/" + "/".join(quote(one, safe="/~" if s3 else "~") for one in segments)
    if not s3:
        path = chance.choice((path, path + "/", path + "/../x", "/." + path, path.replace("/", "//", 1)))
    pairs = []
    for _ in range(chance.randrange(4)):
        name = quote("".join(chance.choices(odd, k=chance.randrange(1, 5))), safe="~")
        value = quote("".join(chance.choices(odd, k=chance.randrange(5))), safe="~")
        pairs.append(f"{name}={value}")
    target = path + ("?" + "&".join(pairs) if pairs else "")
    fields = []
    for name in chance.sample(("Content-Type", "Content-MD5", "X-Amz-Target", "x-amz-meta-a", "X-Amz-ACL"), k=2):
        value = "".join(chance.choices(letters + " ;=/", k=9)).strip() or "x"
        fields.append((name.encode(), value.encode()))
    return (
        chance.choice((b"GET", b"POST", b"PUT", b"DELETE")),
        target.encode(),
        chance.randbytes(chance.randrange(40)),
        fields,
    )


class TestPayload:
    """What is said of the body, and what of that is signed."""

    HASH = hashlib.sha256(b"elsewhere").hexdigest().encode()

    @pytest.mark.parametrize(
        ("payload", "declared", "body", "expected"),
        [
            ("signed", None, b"here", hashlib.sha256(b"here").hexdigest().encode()),
            ("signed", HASH, b"here", hashlib.sha256(b"here").hexdigest().encode()),
            ("signed", b"UNSIGNED-PAYLOAD", b"here", hashlib.sha256(b"here").hexdigest().encode()),
            ("signed", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", None, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("unsigned", None, None, b"UNSIGNED-PAYLOAD"),
            ("unsigned", HASH, None, b"UNSIGNED-PAYLOAD"),
            ("unsigned", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", None, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("as_sent", None, b"here", hashlib.sha256(b"here").hexdigest().encode()),
            ("as_sent", HASH, None, HASH),
            ("as_sent", b"UNSIGNED-PAYLOAD", None, b"UNSIGNED-PAYLOAD"),
            ("as_sent", b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", None, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("as_sent", b"no hash", b"here", hashlib.sha256(b"here").hexdigest().encode()),
        ],
    )
    def test_the_hash_is_the_bodys_or_what_the_app_declares(self, payload, declared, body, expected):
        received = [(b"X-Amz-Content-SHA256", declared)] if declared else []
        one = request(b"PUT", b"/b/k", body, received=received)
        assert signed(one, scheme("s3", payload=payload))[b"x-amz-content-sha256"] == expected

    @pytest.mark.parametrize("payload", ["signed", "unsigned", "as_sent"])
    @pytest.mark.parametrize(
        "declared", [b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"]
    )
    def test_a_body_signed_piece_by_piece_by_the_app_is_refused_and_never_signed_wrongly(self, payload, declared):
        one = request(b"PUT", b"/b/k", b"5;chunk-signature=0", received=[(b"x-amz-content-sha256", declared)])
        with pytest.raises(RequestBodyTooLarge, match="cannot be signed anew"):
            signed(one, scheme("s3", payload=payload))

    @pytest.mark.parametrize("payload", ["signed", "as_sent"])
    def test_a_body_that_is_not_at_hand_is_refused(self, payload):
        with pytest.raises(RequestBodyTooLarge):
            signed(request(b"PUT", b"/b/k", None), scheme("s3", payload=payload))

    def test_what_must_be_whole_follows_from_the_payload(self):
        assert [scheme(payload=one).wants_body for one in ("signed", "unsigned", "as_sent")] == [
            "all",
            "none",
            "undeclared",
        ]


class TestScope:
    """Region and service: fixed, or the app's own inside a list."""

    AUTHORIZATION = (
        b"Authorization",
        b"AWS4-HMAC-SHA256 Credential=dummy/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=0",
    )
    PRESIGNED = b"/q?X-Amz-Credential=dummy%2F20260101%2Feu-west-1%2Fsqs%2Faws4_request&X-Amz-Signature=0&a=b"

    @pytest.mark.parametrize(
        "one",
        [request(received=[AUTHORIZATION]), request(target=b"/q?a=b", received_target=PRESIGNED)],
        ids=["header", "query"],
    )
    def test_the_apps_scope_is_taken_where_the_list_has_it(self, one):
        signer = SigV4Scheme(AllowedScopes(None, None, ("eu-west-1",), ("sqs",)), keys=KEYS)
        assert b"/eu-west-1/sqs/aws4_request" in signed(one, signer)[b"authorization"]

    @pytest.mark.parametrize(
        ("scopes", "received", "message"),
        [
            (AllowedScopes(None, "sqs", ("us-east-1",)), [AUTHORIZATION], "allow_regions"),
            (AllowedScopes("eu-west-1", None, (), ("s3",)), [AUTHORIZATION], "allow_services"),
            (AllowedScopes(None, "sqs", ("eu-west-1",)), [], "names a region"),
            (AllowedScopes(None, "sqs", ("eu-west-1",)), [(b"Authorization", b"Bearer x")], "names a region"),
            (AllowedScopes(None, "s", ("..",)), [(b"Authorization", b"Credential=a/20260101/../s/aws4_request")], "no"),
        ],
    )  # fmt: skip
    def test_another_scope_is_refused(self, scopes, received, message):
        with pytest.raises(RequestDenied, match=message):
            signed(request(received=received), SigV4Scheme(scopes, keys=KEYS))

    def test_the_apps_signature_in_the_query_is_cut_and_nothing_else(self):
        assert placed(self.PRESIGNED) == b"/q?a=b"
        assert placed(b"/q?X%2DAmz-Date=1&x-amz-checksum-mode=ENABLED") == b"/q?x-amz-checksum-mode=ENABLED"
        assert placed(b"/q?X-Amz-Signature=0") == b"/q"


class TestKeys:
    """The token's keys, or the scheme's own."""

    def test_a_tokens_keys_are_used_and_its_session_token_is_sent_and_signed(self):
        got = signed(request(), scheme(keys=None), keys=token(as_text(SESSION)))
        assert got[b"x-amz-security-token"] == SESSION.session_token.encode()
        assert b"Credential=ASIAEXAMPLE/" in got[b"authorization"]
        assert b"SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token," in got[b"authorization"]

    def test_new_keys_sign_from_then_on(self):
        signer = scheme()
        before = signed(request(), signer)
        signer.use(SESSION)
        after = signed(request(), signer)
        assert before[b"authorization"] != after[b"authorization"]
        assert b"ASIAEXAMPLE" in after[b"authorization"]

    @pytest.mark.parametrize("text", ["opaque", "{}", '{"AccessKeyId": "", "SecretAccessKey": ""}', "[" * 100_000])
    def test_a_token_that_holds_no_keys_is_refused(self, text):
        with pytest.raises(CredentialRefused):
            signed(request(), scheme(keys=None), keys=token(text))

    def test_a_session_token_that_would_bend_the_head_is_refused(self):
        bent = AwsKeys(access_key_id="a", secret_access_key="b", session_token="c\r\nX: y")
        with pytest.raises(CredentialRefused):
            signed(request(), scheme(keys=bent))

    def test_a_day_and_a_region_have_their_own_signing_key_and_few_are_kept(self):
        signer = SigV4Scheme(AllowedScopes(None, "s3", tuple(f"r-{n}" for n in range(200))), keys=KEYS)
        for n in range(200):
            scope = b"AWS4-HMAC-SHA256 Credential=d/20260101/r-%d/s3/aws4_request" % n
            assert b"/r-%d/" % n in signed(request(received=[(b"Authorization", scope)]), signer)[b"authorization"]
        assert len(signer._signing_keys) <= 64

    def test_keys_cannot_be_printed(self):
        assert repr(KEYS) == "AwsKeys()"


class TestJudge:
    """What a refusal means."""

    @pytest.mark.parametrize(
        ("status", "body", "fields", "expected"),
        [
            (403, b"<Error><Code>ExpiredToken</Code></Error>", (), Verdict.RENEW),
            (400, b'{"__type":"com.amazon.coral.service#ExpiredTokenException"}', (), Verdict.RENEW),
            (403, b"", ((b"x-amzn-ErrorType", b"UnrecognizedClientException:http://x"),), Verdict.RENEW),
            (403, b"<Code>InvalidAccessKeyId</Code>", (), Verdict.RENEW),
            (401, b"", (), Verdict.RENEW),
            (403, b"<Code>AccessDenied</Code>", (), Verdict.PASS),
            (403, b"<Code>SignatureDoesNotMatch</Code>", (), Verdict.RENEW),
            (400, b"ValidationException", (), Verdict.PASS),
            (500, b"ExpiredToken", (), Verdict.PASS),
            (200, b"ExpiredToken", (), Verdict.PASS),
        ],
    )
    def test_refused_keys_are_renewed_and_other_refusals_are_the_apps(self, status, body, fields, expected):
        assert scheme().judge(request(), answer(status, fields=fields, body=body)) is expected

    @pytest.mark.parametrize(
        "body",
        [
            b"<Code>RequestTimeTooSkewed</Code>",
            b'{"message":"Signature expired: 20270115T080000Z is now earlier than now"}',
            b'{"message":"Signature not yet current: 2"}',
            b"<Code>RequestExpired</Code>",
        ],
    )
    def test_a_refused_clock_is_learned_from_the_date_and_the_request_signed_anew(self, body):
        signer, one = scheme(), request()
        first = signer.sign(one, NOTHING, moment())
        date = (b"Date", formatdate(WALL + 3600, usegmt=True).encode())
        assert signer.judge(one, answer(403, fields=(date,), body=body), first) is Verdict.RESIGN
        again = signed(one, signer)
        assert again[b"x-amz-date"].decode() == dt.datetime.fromtimestamp(WALL + 3600, dt.UTC).strftime(
            "%Y%m%dT%H%M%SZ"
        )

    def test_a_refused_clock_that_agrees_with_the_date_is_the_apps_to_read(self):
        signer, one = scheme(), request()
        first = signer.sign(one, NOTHING, moment())
        date = (b"Date", formatdate(WALL, usegmt=True).encode())
        assert signer.judge(one, answer(403, fields=(date,), body=b"RequestTimeTooSkewed"), first) is Verdict.PASS

    def test_the_answer_to_head_says_no_reason_and_the_clock_is_suspected_where_the_dates_differ(self):
        signer, one = scheme("s3"), request(b"HEAD", b"/b/k")
        first = signer.sign(one, NOTHING, moment())
        for seconds, expected in ((3600, Verdict.RESIGN), (0, Verdict.PASS)):
            date = (b"Date", formatdate(WALL + seconds, usegmt=True).encode())
            assert signer.judge(one, answer(403, fields=(date,)), first) is expected
            signer = scheme("s3")
            first = signer.sign(one, NOTHING, moment())
