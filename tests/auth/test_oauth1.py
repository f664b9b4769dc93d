"""OAuth 1.0, whole requests."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from email.utils import formatdate
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from oauthlib.common import urldecode
from oauthlib.oauth1 import RequestValidator, SignatureOnlyEndpoint
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature
from support.signing import WALL, answer, moment, request, token

from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.signature import OAuth1Keys
from proxy.errors import ConfigurationError
from proxy.model import Request, Verdict

FORM = b"application/x-www-form-urlencoded"
KEYS = OAuth1Keys(consumer_secret="c&s", token="t/k", token_secret="t s")
PARAMETER = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def sign(scheme, one=None, at=WALL):
    ((name, value),) = scheme.sign(one or request(), token("unused"), moment(at))
    assert name == b"Authorization"
    assert value.startswith(b"OAuth ")
    return value.decode()


def parameters(header):
    """In the order in which they were sent, decoded."""
    return {name: unquote(value) for name, value in PARAMETER.findall(header)}


def seen_by_oauthlib(one: Request, header: str, uri: str | None = None) -> SimpleNamespace:
    """What oauthlib's verifier makes of a request; raises ValueError where it refuses the input."""
    uri = uri or f"{one.scheme}://{one.authority.decode()}{one.target.decode()}"
    content_type = (one.content_type or b"").decode()
    form = content_type.startswith(FORM.decode())
    if form:
        urldecode((one.body or b"").decode())  # collect_parameters leaves out what this refuses
    collected = oauthlib_signature.collect_parameters(
        uri_query=uri.partition("?")[2],
        body=(one.body or b"").decode() if form else [],
        headers={"Authorization": header, "Content-Type": content_type},
    )
    signature = parameters(header)["oauth_signature"]
    return SimpleNamespace(http_method=one.method.decode(), uri=uri, params=collected, signature=signature)


def verified(one, header, uri=None, method="hmac_sha1", keys=KEYS):
    verify = getattr(oauthlib_signature, f"verify_{method}")
    return verify(seen_by_oauthlib(one, header, uri), keys.consumer_secret, keys.token_secret)


def test_the_header_lists_everything_that_is_signed_and_the_signature_last():
    sent = parameters(sign(OAuth1Scheme("key", KEYS, realm="Photos")))
    assert list(sent) == [
        "realm",
        "oauth_consumer_key",
        "oauth_token",
        "oauth_signature_method",
        "oauth_version",
        "oauth_timestamp",
        "oauth_nonce",
        "oauth_signature",
    ]
    assert sent["oauth_timestamp"] == str(int(WALL))
    assert sent["oauth_token"] == "t/k"


def test_values_are_percent_encoded_in_the_header():
    """E5."""
    header = sign(OAuth1Scheme("k=y", KEYS))
    assert 'oauth_consumer_key="k%3Dy"' in header
    assert 'oauth_token="t%2Fk"' in header
    assert re.search(r'oauth_signature="[A-Za-z0-9%]+%3D"$', header)


def test_without_a_token_none_is_sent_and_an_empty_one_is():
    assert "oauth_token=" not in sign(OAuth1Scheme("key", OAuth1Keys(consumer_secret="s")))
    assert 'oauth_token=""' in sign(OAuth1Scheme("key", OAuth1Keys(consumer_secret="s", token="")))


def test_a_realm_is_quoted_and_not_signed():
    """E5."""
    header = sign(OAuth1Scheme("key", KEYS, realm='a "b" \\c'))
    assert header.startswith('OAuth realm="a \\"b\\" \\\\c", oauth_consumer_key=')
    assert verified(request(), sign(OAuth1Scheme("key", KEYS, realm="plain")))


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "PLAINTEXT"])
def test_every_shared_secret_method_is_verified_by_oauthlib(method):
    one = request(b"POST", "https://api.example/a?b=c%20d&b=e", content_type=FORM, body=b"f=g+h&f=&i")
    header = sign(OAuth1Scheme("key", KEYS, method=method), one)
    assert parameters(header)["oauth_signature_method"] == method
    assert verified(one, header, method=method.lower().replace("-", "_"))


@pytest.mark.parametrize("method", ["RSA-SHA1", "RSA-SHA256", "RSA-SHA512"])
def test_every_rsa_method_is_verified_by_oauthlib_and_uses_no_secret(method):
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    one = request(b"PUT", "https://api.example/a?b=c")
    header = sign(OAuth1Scheme("key", OAuth1Keys(private_key=pem, token="t"), method=method), one)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    verify = getattr(oauthlib_signature, f"verify_{method.lower().replace('-', '_')}")
    assert verify(seen_by_oauthlib(one, header), public)


def test_a_changed_request_is_no_longer_verified():
    """The verifier in these tests can say no."""
    one = request(b"POST", "https://api.example/a?b=c", content_type=FORM, body=b"f=g")
    header = sign(OAuth1Scheme("key", KEYS), one)
    assert verified(one, header)
    for other in (
        request(b"PUT", "https://api.example/a?b=c", content_type=FORM, body=b"f=g"),
        request(b"POST", "https://api.example/a?b=d", content_type=FORM, body=b"f=g"),
        request(b"POST", "https://api.example/b?b=c", content_type=FORM, body=b"f=g"),
        request(b"POST", "https://api.example/a?b=c", content_type=FORM, body=b"f=h"),
        request(b"POST", "https://api.example:8443/a?b=c", content_type=FORM, body=b"f=g"),
    ):
        assert not verified(other, header)


PIECES = [*"abZ09-._~+&=;:@/?!'()*,$", "%20", "%2B", "%26", "%3d", "%C3%BC", "%7e", "%25zz", "%zz"]
NAMES = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
ENCODED = st.lists(st.tuples(NAMES, NAMES).map("=".join), max_size=5).map("&".join)


@given(
    method=st.sampled_from([b"GET", b"POST", b"DELETE", b"PROPFIND"]),
    authority=st.sampled_from(["api.example", "API.Example:443", "api.example:8443", "127.0.0.1:80"]),
    path=st.sampled_from(["", "/", "/a%20b/%C3%BC", "/a;v=1", "//a/../b", "/~x", "/a%2Fb%2fc"]),
    query=ENCODED,
    body=ENCODED,
)
def test_every_request_that_oauthlib_accepts_is_signed_as_oauthlib_reads_it(method, authority, path, query, body):
    one = request(method, f"https://{authority}{path}?{query}", content_type=FORM, body=body.encode())
    scheme = OAuth1Scheme("key", KEYS)
    try:
        good = verified(one, sign(scheme, one))
    except ValueError:
        assume(condition=False)
    assert good


def test_an_odd_query_is_signed_over_what_a_server_decodes():
    """oauthlib refuses to read these; its arithmetic over the decoded parameters is the oracle all the same."""
    target = b"/a?searchCriteria[pageSize]={1|2}&bad=%zz&u=\xc3\xbc&x"
    one = Request(b"GET", "https", b"api.example", target)
    header = sign(OAuth1Scheme("key", KEYS), one)
    sent = parameters(header)
    signature = sent.pop("oauth_signature")
    decoded = [("searchCriteria[pageSize]", "{1|2}"), ("bad", "%zz"), ("u", "ü"), ("x", ""), *sent.items()]
    asked = SimpleNamespace(http_method="GET", uri="https://api.example/a", params=decoded, signature=signature)
    verify = getattr(oauthlib_signature, "verify_hmac_sha1")  # noqa: B009 - it needs no more of a request than this
    assert verify(asked, KEYS.consumer_secret, KEYS.token_secret)


def test_a_bare_question_mark_adds_nothing():
    one = request(url="https://api.example/a?")
    assert verified(one, sign(OAuth1Scheme("key", KEYS), one))


def test_a_form_is_signed_and_another_body_is_not():
    form = request(b"POST", content_type=FORM + b"; charset=utf-8", body=b"zz=1")
    json = request(b"POST", content_type=b"application/json", body=b"zz=1")
    streamed = request(b"POST", content_type=FORM)
    scheme = OAuth1Scheme("key", KEYS)
    assert "zz%3D1" in scheme.draft(form, moment()).base
    assert "zz" not in scheme.draft(json, moment()).base
    assert "zz" not in scheme.draft(streamed, moment()).base


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "form"),
        ({"body_hash": "sha1"}, "all"),
        ({"body_hash": "sha256"}, "all"),
        ({"method": "PLAINTEXT"}, "none"),
    ],
)
def test_only_what_must_be_signed_is_asked_for(options, expected):
    assert OAuth1Scheme("key", KEYS, **options).wants_body == expected


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_body_hash_is_sent_and_signed(algorithm):
    """E7."""
    one = request(b"PUT", content_type=b"text/plain", body=b"Hello World!")
    header = sign(OAuth1Scheme("key", KEYS, body_hash=algorithm), one)
    digest = hashlib.new(algorithm, b"Hello World!").digest()
    assert base64.b64decode(parameters(header)["oauth_body_hash"]) == digest
    assert verified(one, header)


def test_the_body_hash_of_the_drafts_example():
    """draft-eaton-oauth-bodyhash."""
    one = request(b"PUT", "http://www.example.com/resource", content_type=b"text/plain", body=b"Hello World!")
    header = sign(OAuth1Scheme("consumer", OAuth1Keys(token="token"), body_hash="sha1"), one)
    assert parameters(header)["oauth_body_hash"] == "Lve95gjOVATpfV8EL5X4nxwjKHE="


def test_a_form_never_has_a_body_hash():
    """E7."""
    form = request(b"POST", content_type=FORM, body=b"a=b")
    assert "oauth_body_hash" not in sign(OAuth1Scheme("key", KEYS, body_hash="sha1", body_hash_empty=True), form)


@pytest.mark.parametrize("body", [None, b""])
def test_an_empty_body_is_hashed_only_where_that_is_asked_for(body):
    """E7."""
    one = request(b"GET", body=body)
    assert "oauth_body_hash" not in sign(OAuth1Scheme("key", KEYS, body_hash="sha256"), one)
    hashed = parameters(sign(OAuth1Scheme("key", KEYS, body_hash="sha256", body_hash_empty=True), one))
    assert hashed["oauth_body_hash"] == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_the_verifiers_own_url_is_signed_where_one_is_configured():
    """E8."""
    one = Request(b"GET", "http", b"10.0.0.1:8080", b"/v2/x?a=b", base_path=b"/v2")
    header = sign(OAuth1Scheme("key", KEYS, signing_base_url="https://Public.example:443/base/"), one)
    assert verified(one, header, uri="https://public.example/base/x?a=b")


def test_no_two_of_ten_thousand_signatures_share_a_nonce():
    """E6."""
    scheme = OAuth1Scheme("key", KEYS)
    sent = [parameters(sign(scheme)) for _ in range(10_000)]
    assert len({one["oauth_nonce"] for one in sent}) == 10_000
    assert all(re.fullmatch("[A-Za-z0-9]{20,30}", one["oauth_nonce"]) for one in sent[:100])
    assert len({one["oauth_signature"] for one in sent}) == 10_000


def test_timestamps_never_decrease_even_if_the_clock_does():
    """E6."""
    scheme = OAuth1Scheme("key", KEYS)
    stamps = [int(parameters(sign(scheme, at=WALL + step))["oauth_timestamp"]) for step in (0, 5, -60, 6)]
    assert stamps == [WALL, WALL + 5, WALL + 5, WALL + 6]


def test_new_keys_are_used_at_once():
    scheme = OAuth1Scheme("key", KEYS)
    newer = OAuth1Keys(consumer_secret="new", token="fresh", token_secret="newer")
    scheme.use(newer)
    header = sign(scheme)
    assert parameters(header)["oauth_token"] == "fresh"
    assert verified(request(), header, keys=newer)


def judged(scheme, status, wall, body=b"", fields=()):
    """One attempt, refused by a server whose clock says `wall`."""
    one = request()
    signed = scheme.sign(one, token(), moment())
    date = (b"Date", formatdate(wall, usegmt=True).encode())
    return scheme.judge(one, answer(status, fields=(date, *fields), body=body), signed)


def test_a_refused_timestamp_teaches_the_servers_time_once():
    """E6."""
    scheme = OAuth1Scheme("key", KEYS)
    assert judged(scheme, 401, WALL - 900) is Verdict.RESIGN
    assert judged(scheme, 401, WALL - 900) is Verdict.PASS


def test_the_attempt_after_that_carries_the_servers_time():
    scheme = OAuth1Scheme("key", KEYS)
    judged(scheme, 401, WALL - 900)
    assert parameters(sign(scheme))["oauth_timestamp"] == str(int(WALL) - 900)


def test_requests_that_were_under_way_meanwhile_are_signed_again_too():
    scheme = OAuth1Scheme("key", KEYS)
    one = request()
    attempts = [scheme.sign(one, token(), moment()) for _ in range(3)]
    refusal = answer(401, fields=((b"Date", formatdate(WALL + 900, usegmt=True).encode()),))
    assert [scheme.judge(one, refusal, signed) for signed in attempts] == [Verdict.RESIGN] * 3
    assert scheme.judge(one, refusal, scheme.sign(one, token(), moment())) is Verdict.PASS


def test_a_refusal_at_the_right_time_is_the_apps_to_read():
    assert judged(OAuth1Scheme("key", KEYS), 401, WALL + 1) is Verdict.PASS


@pytest.mark.parametrize("status", [400, 403])
def test_other_refusals_count_only_where_they_name_the_timestamp(status):
    scheme = OAuth1Scheme("key", KEYS)
    problem = ((b"WWW-Authenticate", b"OAuth realm=x, oauth_problem=timestamp_refused"),)
    assert judged(scheme, status, WALL + 900) is Verdict.PASS
    assert judged(scheme, status, WALL + 900, fields=problem) is Verdict.RESIGN
    body = b'{"errors":[{"code":135,"message":"Timestamp out of bounds."}]}'
    assert judged(OAuth1Scheme("key", KEYS), status, WALL + 900, body=body) is Verdict.RESIGN


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_no_other_answer_says_anything_about_the_clock(status):
    assert judged(OAuth1Scheme("key", KEYS), status, WALL + 900) is Verdict.PASS


def test_without_the_attempts_fields_the_last_stamp_counts():
    scheme = OAuth1Scheme("key", KEYS)
    sign(scheme)
    refusal = answer(401, fields=((b"Date", formatdate(WALL + 900, usegmt=True).encode()),))
    assert scheme.judge(request(), refusal) is Verdict.RESIGN
    assert scheme.judge(request(), refusal, [(b"X", b"y")]) is Verdict.RESIGN


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"method": "PLAINTEXT", "body_hash": "sha1"}, "body_hash"),
        ({"realm": "a\r\nb"}, "realm"),
        ({"method": "RSA-SHA1"}, "private_key"),
        ({"signing_base_url": "public.example"}, "signing_base_url"),
    ],
)
def test_what_cannot_be_signed_with_is_a_configuration_error(options, why):
    with pytest.raises(ConfigurationError, match=why):
        OAuth1Scheme("key", KEYS, **options)


def test_the_target_stays_as_it_is_and_a_draft_cannot_be_printed():
    scheme = OAuth1Scheme("key", KEYS)
    assert scheme.place(one := request(), token(), moment()) is one
    assert repr(scheme.draft(request(), moment())) == "Draft()"


class KnowsOneClient(RequestValidator):
    """oauthlib's own server side with its strict defaults, and one client."""

    enforce_ssl = True
    nonces: set[str]

    def __init__(self):
        super().__init__()
        self.nonces = set()

    def get_client_secret(self, client_key, request):  # noqa: ARG002 - oauthlib's interface
        return KEYS.consumer_secret

    def validate_client_key(self, client_key, request):  # noqa: ARG002 - oauthlib's interface
        return client_key == "a" * 20

    def validate_timestamp_and_nonce(
        self,
        client_key,  # noqa: ARG002
        timestamp,  # noqa: ARG002
        nonce,
        request,  # noqa: ARG002
        request_token=None,  # noqa: ARG002
        access_token=None,  # noqa: ARG002
    ):
        known = nonce in self.nonces
        self.nonces.add(nonce)
        return not known

    dummy_client = "dummy"


def test_a_whole_server_side_accepts_every_attempt_once():
    server = SignatureOnlyEndpoint(KnowsOneClient())
    scheme = OAuth1Scheme("a" * 20, OAuth1Keys(consumer_secret=KEYS.consumer_secret), realm="here")
    one = request(b"POST", "https://api.example/a%20b?c=d", content_type=FORM, body=b"e=f+g")
    for _ in range(2):
        headers = {"Authorization": sign(scheme, one, at=time.time()), "Content-Type": FORM.decode()}
        asked = ("https://api.example/a%20b?c=d", "POST", "e=f+g", headers)
        assert server.validate_request(*asked)[0]
        assert not server.validate_request(*asked)[0]


# ---- in the query ----------------------------------------------------------------------------------------------------


def in_query(one, **options):
    scheme = OAuth1Scheme("key", KEYS, in_query=True, **options)
    placed = scheme.place(one, token(), moment(WALL))
    assert scheme.sign(placed, token(), moment(WALL)) == []
    return scheme, placed


@pytest.mark.parametrize("url", ["https://api.example/a", "https://api.example/a?", "https://api.example/a?b=c&d"])
def test_the_parameters_of_the_query_are_those_of_the_header_and_sign_the_same(url):
    scheme, placed = in_query(request(url=url))
    path, _, query = placed.target.partition(b"?")
    assert path == b"/a"
    pairs = [pair.split("=") for pair in query.decode().split("&") if "oauth_" in pair]
    names = [name for name, _ in pairs]
    assert sorted(names) == sorted(set(names))
    assert names[-1] == "oauth_signature"
    header = "OAuth " + ", ".join(f'{name}="{value}"' for name, value in pairs)
    assert verified(request(url=url), header)
    assert scheme.writes == ()


def test_a_form_and_a_body_hash_are_covered_there_too():
    form = request(b"POST", content_type=b"application/x-www-form-urlencoded", body=b"a=b")
    scheme, placed = in_query(form)
    assert "a%3Db" in scheme.draft(placed, moment(WALL)).base
    other = request(b"POST", content_type=b"text/plain", body=b"a=b")
    _, placed = in_query(other, body_hash="sha1")
    assert b"oauth_body_hash=" in placed.target


def test_what_stands_in_the_query_is_covered_once():
    """A draft of the request as it went out is that of the request before."""
    fixed = moment(WALL, bytes)
    scheme = OAuth1Scheme("key", KEYS, in_query=True)
    one = request(url="https://api.example/a?b=c")
    assert scheme.draft(scheme.place(one, token(), fixed), fixed).base == scheme.draft(one, fixed).base


def test_a_refused_timestamp_is_found_in_the_query():
    scheme, placed = in_query(request())
    refusal = answer(401, fields=((b"Date", formatdate(WALL + 900, usegmt=True).encode()),))
    assert scheme.judge(placed, refusal) is Verdict.RESIGN
    agreeing = answer(401, fields=((b"Date", formatdate(WALL, usegmt=True).encode()),))
    assert scheme.judge(placed, agreeing) is Verdict.PASS


def test_a_request_without_a_query_of_its_own_is_left_alone():
    scheme = OAuth1Scheme("key", KEYS, in_query=True)
    everything = Request(b"OPTIONS", "https", b"api.example", b"*")
    assert scheme.place(everything, token(), moment()) is everything
