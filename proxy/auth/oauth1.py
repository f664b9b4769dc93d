"""OAuth 1.0 (RFC 5849): every attempt is signed anew, as the last step, over exactly what is sent.

The parameters go into `Authorization` (§3.5.1) or into the query (§3.5.3). A refusal because of
the timestamp tells us the verifier's time (`skew.py`). Other refusals are passed to the app: there is nothing to renew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct, structs

from proxy.auth.base_string import Pair, base_string, escaped, form_pairs, is_form
from proxy.auth.signature import OAuth1Keys, SignatureMethod, header_safe, signer
from proxy.auth.skew import ServerTime
from proxy.auth.uri import base_url, signed_uri
from proxy.errors import ConfigurationError
from proxy.http1.target import with_query, without_parameters
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

_NONCE_OCTETS = 12
"""24 hexadecimal digits, 96 bits: verifiers want alphanumerics, the strictest of them 20 to 30."""

_STAMP = re.compile(rb'oauth_timestamp="?(\d+)')
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_CLOCK_REFUSED = re.compile(rb"timestamp[_ ](?:refused|out of bounds)", re.IGNORECASE)
"""The word of the problem reporting extension, and the text of Twitter's error 135: sent with 400 and 403 as well."""


_PROTOCOL = (
    *(b"oauth_consumer_key", b"oauth_token", b"oauth_signature_method", b"oauth_version", b"oauth_timestamp"),
    *(b"oauth_nonce", b"oauth_body_hash", b"oauth_signature"),
)
"""What goes into the query: a parameter must not be there twice (§3.4.1.3.1)."""


class Draft(Struct, frozen=True):
    """One attempt before it is signed: the parameters that change (percent-encoded) and the base string."""

    changing: list[Pair]
    base: str

    def __repr__(self) -> str:
        """A base string holds the query."""
        return "Draft()"


class OAuth1Scheme:
    """Signs with `keys`; `use` replaces them when a secret changed.

    `body_hash`: `oauth_body_hash` for bodies that are no forms, with `body_hash_empty` also where there is none.
    `signing_base_url`: the upstream's URL as the verifier sees it, where proxies in between rewrite it.
    `in_query`: the parameters go into the query instead of `Authorization`.
    Raises ConfigurationError for what cannot be signed with.
    """

    learns: bool = False
    constant: bool = False

    def __init__(
        self,
        consumer_key: str,
        keys: OAuth1Keys,
        *,
        method: SignatureMethod = "HMAC-SHA1",
        realm: str | None = None,
        body_hash: Literal["sha1", "sha256"] | None = None,
        body_hash_empty: bool = False,
        signing_base_url: str | None = None,
        in_query: bool = False,
    ) -> None:
        self.writes: tuple[bytes, ...] = () if in_query else (b"authorization",)
        self.places = in_query
        self.parameters: tuple[bytes, ...] = _PROTOCOL if in_query else ()
        if body_hash and method == "PLAINTEXT":
            raise ConfigurationError("body_hash: a PLAINTEXT signature does not protect it")
        if realm is not None and _CONTROLS.search(realm):
            raise ConfigurationError("realm: control characters cannot be sent")
        self._consumer_key = consumer_key
        self.method = method
        self._realm = "" if realm is None else 'realm="{}", '.format(realm.replace("\\", r"\\").replace('"', r"\""))
        self._body_hash = body_hash
        self._body_hash_empty = body_hash_empty
        self._base_url = None if signing_base_url is None else base_url(signing_base_url, "signing_base_url")
        self._time = ServerTime()
        self.wants_body: WantsBody = "all" if body_hash else "form"
        if method == "PLAINTEXT":
            self.wants_body = "none"
        self.use(keys)

    def use(self, keys: OAuth1Keys) -> None:
        """Sign with these from now on. Raises ConfigurationError where they do not fit the signature method."""
        self._signature = signer(self.method, keys)
        self._constant: list[Pair] = [("oauth_consumer_key", escaped(self._consumer_key))]
        if keys.token is not None:
            self._constant.append(("oauth_token", escaped(keys.token)))
        self._constant += [("oauth_signature_method", self.method), ("oauth_version", "1.0")]
        self._head = f"OAuth {self._realm}" + _listed(self._constant)

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request with the parameters at the end of its query, or itself."""
        if not self.places or request.target == b"*":
            return request
        draft = self.draft(request, moment)
        pairs = [*self._constant, *draft.changing, ("oauth_signature", self._signature(draft.base))]
        added = "&".join([f"{name}={value}" for name, value in pairs])
        return structs.replace(request, target=with_query(request.target, added.encode("ascii")))

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """One `Authorization` field, or none. `token` counts for nothing: the keys are the scheme's own."""
        if self.places:
            return []
        draft = self.draft(request, moment)
        return [self.field(draft, self._signature(draft.base))]

    def field(self, draft: Draft, signature: str) -> Field:
        """§3.5.1: `signature` comes percent-encoded."""
        value = f'{self._head}, {_listed(draft.changing)}, oauth_signature="{signature}"'
        return b"Authorization", value.encode()

    def draft(self, request: Request, moment: Moment) -> Draft:
        """What will be signed for this attempt; the body is what `wants_body` asked for.

        What `place` has put into the query counts once, as a parameter of ours.
        """
        changing = [
            ("oauth_timestamp", str(self._time.stamp(moment.wall))),
            ("oauth_nonce", moment.octets(_NONCE_OCTETS).hex()),
        ]
        form = is_form(request.content_type)
        if self._body_hash and not form and (request.body or self._body_hash_empty):
            digest = hashlib.new(self._body_hash, request.body or b"", usedforsecurity=False)
            changing.append(("oauth_body_hash", header_safe(digest.digest())))
        pairs = self._constant + changing
        target = without_parameters(request.target, self.parameters) if self.places else request.target
        query = target.partition(b"?")[2]
        if query:
            pairs += form_pairs(query)
        if form and request.body:
            pairs += form_pairs(request.body)
        return Draft(changing, base_string(request.method, *signed_uri(request, self._base_url), pairs))

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """RESIGN where the refusal had to do with our clock."""
        if answer.status not in (400, 401, 403):
            return Verdict.PASS
        if answer.status != 401 and not _blames_the_clock(answer):  # noqa: PLR2004 - RFC 5849 §3.2
            return Verdict.PASS
        stamped = _stamp([request.target] if self.places else [value for _, value in signed])
        return Verdict.RESIGN if self._time.mend(answer, stamped) else Verdict.PASS


def _listed(pairs: list[Pair]) -> str:
    return ", ".join([f'{name}="{value}"' for name, value in pairs])


def _blames_the_clock(answer: Answer) -> bool:
    return any(_CLOCK_REFUSED.search(text) for text in (answer.body, *(value for _, value in answer.fields)))


def _stamp(texts: Iterable[bytes]) -> int | None:
    for text in texts:
        if match := _STAMP.search(text):
            return int(match[1])
    return None
