"""One route made ready: everything that is the same for all its requests, as octets and objects made at load time."""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable, Sequence

from proxy.auth.aws_canonical import declared_hash
from proxy.auth.base_string import is_form
from proxy.auth.challenge import ON_UNAUTHORIZED, refused
from proxy.auth.header import checked
from proxy.auth.path import PathScheme
from proxy.config import schema
from proxy.config.upstream_url import PLACE, parse_upstream
from proxy.errors import MalformedRequest
from proxy.forward.cors import NO_PAGE, CorsPolicy
from proxy.forward.links import UpstreamNames, UrlRewriter
from proxy.forward.pool import Connections, Pool
from proxy.forward.rate_limiter import RateLimiter
from proxy.forward.renewal_hold import RouteRenewals
from proxy.forward.request_body import RequestBody
from proxy.forward.response_tap import readable
from proxy.forward.token_upstream import TokenUpstream
from proxy.forward.url_rewriter import Rules
from proxy.http1.answer import AnswerHead
from proxy.http1.fields import ENDS_HERE, HOP_BY_HOP, HTTPS_ONLY, lines_named, without
from proxy.http1.request import RequestFields
from proxy.http1.target import leaves_prefix, with_parameter, without_parameters
from proxy.model import Answer, Field, Request, Token, Verdict
from proxy.stats import RouteStats
from proxy.tokens.credential import Credential, Tokens

_PLAIN_401 = ON_UNAUTHORIZED[0]
_REFUSALS = frozenset({400, 401, 403})
"""What schemes that sign anew each time read, bodies included: nonces and clocks are refused with these."""

SetField = tuple[bytes, Callable[[], str]]
"""A field of `headers.set` or a parameter of `query.set`: its name, and its value as it is now (a file may change)."""


class AuthorizationAction(enum.Enum):
    """What becomes of the app's own Authorization; one that was for us is gone by then (`CallerGuard`)."""

    REPLACE = 0
    """It goes where the credential goes, and stays where none does."""
    KEEP = 1
    """It goes on instead of the credential."""


class LiveRoute:
    """What an exchange asks about its route.

    `suspects`: statuses that may mean a refused token, `readings`: those whose body tells; `learns`: every answer does;
    `heeds`: no answer is just passed on.
    `passes_authorization`: the app's own may reach the upstream; `identifies`: what we send may say to a connection who
    it is (`private.py`). `ends_with_token`: streams end when their token does. `base`: the path of the upstream's URL.
    `varies`: which token it is depends on the request. `unresolved`: where it leads is not known yet, and targets stay
    as the app sent them; `by_token`: what names it, where the token does. `forwards`: the egress proxy that is sent the
    requests themselves. `upgrades`: the protocols, in lower case, that connections may change to; `upgraded`: this
    route as such requests take it, where that differs.
    `readers`: who may read an answer to a request that is no other site's page's, where `cors` says who may at all.
    `kept_fields`: set to what the token's answer said besides, by its names. `credential_octets` are the field lines of
    `signed_token`, kept for schemes that say the same for the same token.
    """

    upgraded: LiveRoute | None = None
    by_token: TokenUpstream | None = None

    def __init__(
        self, config: schema.Route, name: str, pool: Connections, stats: RouteStats, credential: Credential | None,
        set_fields: list[SetField], set_parameters: Sequence[SetField] = (),
        kept_fields: Sequence[tuple[bytes, str]] = (),
    ) -> None:  # fmt: skip
        self.config = config
        self.name = name
        self.stats = stats
        self.credential = credential
        self.scheme = credential.scheme if credential else None
        if self.scheme is not None and isinstance(config.upstream, str) and PLACE in config.upstream:
            self.scheme = PathScheme(self.scheme)
        self.observer = credential.observer if credential else None
        self.varies = credential is not None and credential.picker is not None
        self.renewal_hold = RouteRenewals()
        rules = config.refresh_on + (credential.refresh_on if credential else ())
        self._on_unauthorized = _PLAIN_401 in rules
        self._rules = tuple(rule for rule in rules if rule != _PLAIN_401)
        self.learns = self.scheme is not None and self.scheme.learns
        inconstant = _REFUSALS if self.scheme is not None and not self.scheme.constant else frozenset()
        self.suspects = inconstant | {rule.status for rule in rules}
        self.readings = inconstant | {rule.status for rule in rules if rule.body_contains is not None}
        self.ends_with_token = config.on_token_expiry == "close"  # noqa: S105 - no password
        own = self.scheme.parameters if self.scheme is not None else ()
        self._set_parameters = [one for one in set_parameters if one[0] not in own]  # the credential wins
        self._parameters = (*own, *(name for name, _ in self._set_parameters))
        self.prefix = b"" if config.match.path == "/" else config.match.path.rstrip("/").encode("latin-1")
        self._strip = len(self.prefix) if config.strip_prefix else 0
        self.unresolved = isinstance(config.upstream, schema.DiscoveredUpstream)
        self.rewrites = Rules(config.rewrite_response) if config.rewrite_response is not None else None
        kept = self.prefix[: self._strip]
        self._lead(pool, kept if self.unresolved else parse_upstream(str(config.upstream)).base.encode("ascii"))
        writes = self.scheme.writes if self.scheme is not None else ()
        self._set_fields = [field for field in set_fields if field[0].lower() not in writes]  # the credential wins
        self.kept_fields = [field for field in kept_fields if field[0].lower() not in writes]
        self._type_set = next((value for name, value in self._set_fields if name.lower() == b"content-type"), None)
        dropped = self._names_to_drop()
        self._type_dropped = b"content-type" in dropped
        self._dropped_trailers = frozenset(name.replace(b"_", b"-") for name in dropped)
        self._dropped = lines_named(dropped, aliases=True) if dropped else None
        besides = dropped.difference(writes)
        self._dropped_besides = lines_named(besides, aliases=True) if besides else None
        self.identifies = any(name.lower() == b"authorization" for name, _ in self._set_fields)
        self._authorizes = self.scheme is not None and b"authorization" in self.scheme.writes
        self.passes_authorization = not self._authorizes or config.on_client_authorization == "keep"
        self.upgrades = frozenset(name.lower().encode("latin-1") for name in config.upgrades)
        self.cors = CorsPolicy(config.cors) if config.cors is not None else None
        self.readers = NO_PAGE if config.cors is not None else None
        self.rate = RateLimiter(config.limits.rate) if config.limits.rate is not None else None

    def _lead(self, pool: Connections, base: bytes) -> None:
        """Everything that depends on the upstream."""
        self.pool = pool
        self.base = base
        self.origin = pool.origin
        self.forwards = pool.forwards
        self.heeds = self.learns or self.forwards is not None
        self.authority = self.origin.authority.encode("ascii")
        self._host_line = b"\r\nHost: " + self.authority
        self._upstream_names: UpstreamNames | None = None
        self.signed_token: Token | None = None
        self.credential_octets = b""

    def connecting(self, pool: Pool) -> None:
        """What changes to another protocol goes over these connections: the others end at an egress proxy."""
        self.upgraded = self.towards(pool, self.base)

    def towards(self, pool: Pool, base: bytes) -> LiveRoute:
        """The same route to another upstream; counters, rate and what is known of its renewals are shared."""
        moved = copy.copy(self)
        moved.unresolved = False
        moved._lead(pool, base)  # noqa: SLF001 - of the same class
        return moved

    def _names_to_drop(self) -> frozenset[bytes]:
        """The caller's copies of what is injected or removed."""
        names = {name.lower() for name, _ in (*self._set_fields, *self.kept_fields)}
        names |= {name.lower().encode("latin-1") for name in self.config.headers.remove}
        if self.scheme is not None:
            names |= set(self.scheme.writes)
        if self.credential is not None and self.credential.picker is not None:
            names |= set(self.credential.picker.strips)
        return frozenset(names)

    def owner(self, tokens: Tokens | None) -> object | None:
        """What stands for the caller whose tokens these are; None where all requests share a token."""
        picker = self.credential.picker if self.credential is not None else None
        return None if picker is None or tokens is None else picker.whose(tokens)

    def target(self, target: bytes) -> bytes:
        """The upstream's target for an origin-form target (or `*`) of the app. Raises MalformedRequest."""
        if b".." in target or b"%" in target or self._parameters:
            path, _, query = target.partition(b"?")
            if leaves_prefix(path, self.prefix):
                raise MalformedRequest("The path would leave its route's prefix")
            if self._parameters and query:
                target = without_parameters(target, self._parameters)
        if target == b"*":
            return target
        moved = self.base + target[self._strip :]
        if self._set_parameters and not self.unresolved:
            for name, value in self._set_parameters:
                moved = with_parameter(moved, name, value().encode())
        return moved if moved.startswith(b"/") else b"/" + moved

    def links(self, target: bytes, scheme: bytes, authority: bytes) -> UrlRewriter:
        """What calls the upstream's URLs ours. `target`: of the request; `scheme`, `authority`: as the app wrote them.

        A route that keeps its prefix reaches what lies below it, and nothing else of the upstream.
        """
        if self._upstream_names is None:
            host = self.origin.host
            at = b"%b:%d" % (f"[{host}]".encode() if ":" in host else host.encode(), self.origin.port)
            self._upstream_names = UpstreamNames((at, self.authority), secure=self.origin.scheme == "https")
        base = self.scheme.base(self.base) if isinstance(self.scheme, PathScheme) else self.base
        base = base if self._strip else base + self.prefix
        at_prefix = target.partition(b"?")[0] == (base or b"/")
        return UrlRewriter(
            self._upstream_names, base, scheme=scheme, authority=authority, prefix=self.prefix, at_prefix=at_prefix
        )

    def section(self, fields: RequestFields, action: AuthorizationAction) -> bytes:
        """The app's field lines as they go on: Host changed in place, hop-by-hop and injected fields gone.

        Raises CredentialRefused where the value of a set field would bend the head.
        """
        key: object = (
            self if action is AuthorizationAction.REPLACE else (self, action)
        )  # hashing an enum's member is dear
        section = fields.outgoing.get(key)
        if section is None:
            section = self._edited(fields, action)
            fields.note(key, section)
        if self._set_fields:
            ready = [checked((name, value().encode("utf-8"))) for name, value in self._set_fields]
            section += b"".join([name + b": " + value + b"\r\n" for name, value in ready])
        return section

    def _edited(self, fields: RequestFields, action: AuthorizationAction) -> bytes:
        section = fields.kept
        dropped = self._dropped_besides if action is AuthorizationAction.KEEP else self._dropped
        if dropped is not None:
            section = dropped.sub(b"", section)
        if fields.version == 0:
            section = _EXPECT.sub(b"", section)
        if self.rewrites is not None and self.rewrites.values is not None:
            section = readable(section)
        nominated = fields.nominated - HOP_BY_HOP - _CONNECTION_OPTIONS
        if nominated:
            section = without(section, nominated)
        if fields.host is None:
            section = self._host_line + section
        else:
            section = _HOST.sub(lambda _: self._host_line, section, count=1)
        if fields.chunked:
            section += b"Transfer-Encoding: chunked\r\n"
        return section

    def brings_own_credential(self, fields: RequestFields) -> bool:
        """Whether the app sends an Authorization of its own where the credential would stand."""
        return self._authorizes and b"authorization" in fields.found

    def gathers(self, fields: RequestFields) -> bool:
        """Whether the body must be whole before the request can be signed."""
        wanted = self.scheme.wants_body if self.scheme is not None else "none"
        if wanted == "undeclared":
            return declared_hash(fields.section) is None
        if wanted != "form":
            return wanted == "all"
        return is_form(self.content_type(fields))

    def content_type(self, fields: RequestFields) -> bytes | None:
        """The Content-Type as it goes out, which is the only one that a verifier sees."""
        if self._type_set is not None:
            return self._type_set().encode("utf-8")
        types = fields.found.get(b"content-type")
        if types is None or self._type_dropped or b"content-type" in fields.nominated:
            return None
        return types[0]

    def request_body(self, fields: RequestFields, is_ours: Callable[[bytes], bool] | None = None) -> RequestBody:
        """Room for a request's body. `is_ours`: whether a trailer is for us alone. Raises RequestBodyTooLarge."""
        buffer: int = self.config.retry.buffer
        if self.credential is not None and self.gathers(fields):
            buffer = self.credential.body_buffer
        return RequestBody(fields, self.config.max_request_body, buffer, self._dropped_trailers, is_ours)

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field]) -> Verdict:
        """What an answer says about its token: the scheme's word, and what `refresh_on` says besides.

        A plain 401 is the scheme's to read: an OAuth 1 signature is not mended by a new token.
        """
        if self.scheme is None:
            return Verdict.PASS
        verdict = self.scheme.judge(request, answer, signed)
        if verdict is Verdict.RENEW and not self._on_unauthorized:
            verdict = Verdict.PASS
        if verdict is Verdict.PASS and self._rules and refused(answer, self._rules):
            return Verdict.RENEW
        return verdict


def passing(head: AnswerHead, hidden: frozenset[bytes], scheme: bytes) -> bytes:
    """An answer's section as the app gets it: hop-by-hop fields and `hidden` ones gone. `scheme`: the app's side's."""
    plain = HTTPS_ONLY in head.found and scheme != b"https"
    if head.ordinary or not (plain or hidden or head.nominated - _CONNECTION_OPTIONS):
        return head.kept
    names = (head.nominated - _CONNECTION_OPTIONS - HOP_BY_HOP - _FRAMING) | hidden
    if plain:
        names |= _HTTPS_ONLY
    return without(head.kept, names) if names else head.kept


def trailers_that_end_here(hidden: frozenset[bytes], scheme: bytes) -> frozenset[bytes]:
    """Names of an answer's trailers that the app does not get, besides those that nobody gets."""
    return hidden | (ENDS_HERE if scheme == b"https" else _ENDS_HERE_IN_PLAIN)


def teaches(head: AnswerHead) -> bool:
    """Whether an answer that refuses nothing may say something to a scheme that learns (RFC 9449 §8.2)."""
    return b"dpop-nonce" in head.found


_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive"})
_FRAMING = frozenset({b"content-length"})
_HTTPS_ONLY = frozenset({HTTPS_ONLY})
_ENDS_HERE_IN_PLAIN = ENDS_HERE | _HTTPS_ONLY
_HOST = lines_named([b"host"], aliases=False)
_EXPECT = lines_named([b"expect"], aliases=False)
