"""What one signature costs, in µs of this machine, next to the libraries that could have made it.

    python bench/signing.py

Run by hand on a quiet machine; the lowest of several rounds counts.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from functools import partial

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from oauthlib.oauth1 import Client

from proxy.auth.aws_keys import AwsKeys
from proxy.auth.aws_sigv4 import AllowedScopes, SigV4Scheme
from proxy.auth.bearer import BearerScheme
from proxy.auth.dpop import DpopScheme
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.signature import OAuth1Keys
from proxy.clock import SystemClock
from proxy.model import Moment, Request, Token

TARGET = b"/v2/conversations?limit=20&order=desc"
FORM = b"application/x-www-form-urlencoded"
GET = Request(b"GET", "https", b"api.example", TARGET)
POST = Request(b"POST", "https", b"api.example", TARGET, FORM, b"text=a+b%26c&to=%C3%BC")
AWS = Request(
    b"POST", "https", b"api.example", TARGET, b"application/json", b"x" * 1024,
    section=b"\r\nHost: api.example\r\nUser-Agent: app/1.0\r\nAccept: */*\r\nContent-Type: application/json\r\n",
)  # fmt: skip
AWS_KEYS = AwsKeys(access_key_id="AKIDEXAMPLE", secret_access_key="s" * 40, session_token="t" * 400)
NO_TOKEN = Token(access_token="")
TOKEN = Token(access_token="eyJhbGciOiJFUzI1NiJ9." + "a" * 400)
KEYS = OAuth1Keys(consumer_secret="s" * 40, token="t" * 40, token_secret="u" * 40)
ROUNDS = 5


def now() -> Moment:
    """As the data path makes one."""
    return Moment(time.time(), SystemClock.octets)


def cost(work: Callable[[], object], count: int = 3000) -> float:
    """µs per call."""
    return min(timeit.repeat(work, number=count, repeat=ROUNDS)) / count * 1e6


def show(name: str, work: Callable[[], object], count: int = 3000) -> None:
    """One line of the report."""
    print(f"{name:<58}{cost(work, count):>9.2f}")


def main() -> None:
    """Ours first, then the comparison."""
    print(f"{'µs per signature':<58}{'':>9}")
    bearer = BearerScheme()
    show("Bearer", lambda: bearer.sign(GET, TOKEN, now()), 20_000)
    moment = now()
    show("Bearer, the moment given", lambda: bearer.sign(GET, TOKEN, moment), 20_000)

    one = OAuth1Scheme("key", KEYS)
    show("OAuth 1 HMAC-SHA1, query of two parameters", lambda: one.sign(GET, TOKEN, now()))
    show("OAuth 1 HMAC-SHA1, the same and a form", lambda: one.sign(POST, TOKEN, now()))
    theirs = Client(
        "key",
        client_secret=KEYS.consumer_secret,
        resource_owner_key=KEYS.token,
        resource_owner_secret=KEYS.token_secret,
    )
    uri = "https://api.example" + TARGET.decode()
    show("  oauthlib, query of two parameters", lambda: theirs.sign(uri), 500)

    aws = SigV4Scheme(AllowedScopes("us-east-1", "execute-api"), "signed", AWS_KEYS)
    show("AWS Signature Version 4, a body of 1 KiB", lambda: aws.sign(AWS, NO_TOKEN, now()))

    for alg in ("ES256", "EdDSA", "ES384", "PS256"):
        dpop = DpopScheme(DpopKeys(DpopKey.generate(alg)))
        show(f"DPoP {alg}", partial(dpop.sign, GET, TOKEN, now()), 500)
    key = ec.generate_private_key(ec.SECP256R1())
    head = {"typ": "dpop+jwt", "jwk": DpopKey(key).jwk}
    claims = {"jti": "a" * 32, "htm": "GET", "htu": "https://api.example/v2", "iat": 1_800_000_000, "ath": "b" * 43}
    show("  PyJWT, the same claims, ES256", lambda: jwt.encode(claims, key, "ES256", headers=head), 500)


if __name__ == "__main__":
    main()
