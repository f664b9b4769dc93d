"""Tokens from an OAuth 2 authorization server: one request to its token endpoint, for whichever grant is configured.

A refresh token is used first where there is one; the configured grant where there is none. Secrets are read anew and
assertions and proofs are made anew for every attempt. A refusal that taught how to make better ones, because it brought
a DPoP nonce or showed that the issuer's clock is another than ours, is worth one more attempt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from msgspec import UnsetType, structs

from proxy.auth.dpop import BAD_PROOF
from proxy.auth.dpop_issuer import TokenEndpointProofs, answer_of
from proxy.auth.skew import ServerTime
from proxy.clock import Clock
from proxy.config.schema import OAuth2, TokenAnswer
from proxy.errors import CredentialRefused
from proxy.model import Moment, Token
from proxy.tokens import client_auth, grants
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.client_auth import Proof
from proxy.tokens.http_client import HttpClient, Received
from proxy.tokens.issuer_faults import GrantRefused, NoGrant
from proxy.tokens.lifetime import Asked, LastStated, jwt_claims
from proxy.tokens.reply import Expected, refusal
from proxy.tokens.sources.discovery import Discovery
from proxy.tokens.spelled_time import instant
from proxy.tokens.template import UnfitPartError, fill, fill_url
from proxy.tokens.token_response import TokenPair, TokenResponse

Read = Callable[[], Awaitable[str]]
"""Reads a secret. Raises CredentialError."""

_FORM = ("Content-Type", "application/x-www-form-urlencoded")
_JTI_OCTETS = 18
_NONCE, _TIME = "another nonce", "another time"
_SIGNED_METHODS = {"private_key_jwt", "client_secret_jwt"}
_KEEPING_REFRESH_TOKENS = {grants.REFRESH_TOKEN, grants.PASSWORD, grants.JWT_BEARER}
"""The other grants can be repeated at any time, and an exchanged token must not outlive its subject: they use a refresh
token only where the operator gave one."""


def not_dated() -> Sequence[ServerTime]:
    """Where nothing is dated by another credential."""
    return ()


@dataclass(frozen=True, slots=True, repr=False)
class IssuerSecrets:
    """The secrets of a credential: how to read each, None where it has none.

    `dated_by`: the clocks by which other credentials date what is read here as an assertion.
    """

    client_secret: Read | None = None
    client_assertion_key: Read | None = None
    client_assertion: Read | None = None
    password: Read | None = None
    assertion: Read | None = None
    assertion_key: Read | None = None
    subject_token: Read | None = None
    actor_token: Read | None = None
    dated_by: Callable[[], Sequence[ServerTime]] = not_dated


@dataclass(frozen=True, slots=True, repr=False)
class _Attempt:
    """One request, and what came of it.

    `bound_to`: the thumbprint of the key that proved; while the answer was on its way others may have taken up another
    one. `subject`: the token that the result must not outlive.
    """

    asked: Asked
    received: Received
    bound_to: str | None
    subject: str | None


@dataclass(frozen=True, slots=True, repr=False)
class IssuerSource:
    """One credential of type `oauth2`. `config` as loaded, `per` filled into its strings.

    `follow_key`: called before a token is bound anew; takes up what the file of `dpop.key` holds now. `time`: the
    issuer's, where there are no `proofs` that know it.
    """

    config: OAuth2
    client: HttpClient
    discovery: Discovery
    clock: Clock
    secrets: IssuerSecrets = field(default_factory=IssuerSecrets)
    proofs: TokenEndpointProofs | None = None
    per: str | None = None
    answers: AnswerReader = field(default_factory=lambda: AnswerReader(TokenAnswer()))
    last_stated: LastStated = field(default_factory=LastStated)
    follow_key: Callable[[], object] = lambda: None
    time: ServerTime = field(default_factory=ServerTime)

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """A new token. Raises CredentialUnavailable, ReplyLost, ReplyUnreadable, CredentialRefused, GrantRefused."""
        url = await self._endpoint()
        known: set[str] = set()
        attempt = await self._attempt(url, previous)
        while (lesson := self._lesson(url, attempt)) is not None and lesson not in known:
            known.add(lesson)
            attempt = await self._attempt(url, previous)
        received = attempt.received
        try:
            response = self.answers.read(
                received,
                attempt.asked,
                Expected(
                    kind="DPoP" if self.proofs else "Bearer",
                    exchange=self.config.grant_type == grants.TOKEN_EXCHANGE,
                    keeps_refresh_token=self._refreshes,
                    assumed=self.last_stated.after(previous.access, self.config.default_expires_in),
                ),
            )
        except CredentialRefused as refused:
            refused.passing = lesson == _NONCE  # yet another one: it is asked again soon
            raise
        token = response.token
        if attempt.bound_to is not None:
            token = structs.replace(token, key_thumbprint=attempt.bound_to)
        if attempt.subject is not None:
            token = _no_longer_than(attempt.subject, token)
        return structs.replace(response, token=token)

    @property
    def _refreshes(self) -> bool:
        """Whether refresh tokens are kept and used."""
        initial = self.config.initial_token
        given = initial is not None and initial.refresh_token is not None
        return given or self.config.grant_type in _KEEPING_REFRESH_TOKENS

    async def _endpoint(self) -> str:
        config = self.config
        if config.token_endpoint is not None:
            return self._filled_url(config.token_endpoint)
        if config.issuer is None:
            raise CredentialRefused("Neither token_endpoint nor issuer is configured")
        mtls = config.tls is not None and config.tls.cert_file is not None
        issuer = self._filled_url(config.issuer)
        return await self.discovery.endpoint(issuer, "token_endpoint", mtls=mtls, configured=config.issuer)

    async def _grant(self, previous: TokenPair, url: str, moment: Moment) -> tuple[grants.Parameters, str | None]:
        """What to post, and the subject token that the result must not outlive."""
        config, secrets, filled = self.config, self.secrets, self._filled
        wanted = grants.Wanted(
            filled(config.scope),
            filled(config.audience),
            tuple(map(self._filled_url, config.resource)),
            filled(config.token_parameters),
        )
        grant = config.grant_type
        if previous.refresh_token is not None and self._refreshes:
            return grants.refresh(previous.refresh_token, wanted, scope=grant == grants.REFRESH_TOKEN), None
        self.follow_key()  # only here: a refresh token stays with the key that binds it (RFC 9449 §5)
        if grant == grants.CLIENT_CREDENTIALS:
            return grants.client_credentials(wanted), None
        if grant == grants.PASSWORD:
            return grants.password(filled(config.username or ""), await _read(secrets.password), wanted), None
        if grant == grants.JWT_BEARER:
            return grants.jwt_bearer(await self._assertion(url, moment), wanted), None
        if grant == grants.TOKEN_EXCHANGE:
            subject = await _read(secrets.subject_token)
            actor = (await secrets.actor_token(), config.actor_token_type or "") if secrets.actor_token else None
            return grants.token_exchange(
                (subject, config.subject_token_type), wanted, actor=actor, requested_type=config.requested_token_type
            ), subject
        raise NoGrant("There is no refresh token: configure one, push one, or log in")

    async def _assertion(self, url: str, moment: Moment) -> str:
        """RFC 7523 §3: given, or signed here with the claims that the operator gave and those that follow."""
        assertion = self.config.assertion
        if self.secrets.assertion_key is None or assertion is None:
            return await _read(self.secrets.assertion)
        claims = {
            "iss": self.config.client_id,
            "aud": url,
            **client_auth.dates(moment.wall, assertion.lifetime),
            "jti": moment.octets(_JTI_OCTETS).hex(),
        } | self._filled(assertion.claims)
        key = await self.secrets.assertion_key()
        return client_auth.sign({k: v for k, v in claims.items() if v is not None}, key, assertion.alg, assertion.kid)

    async def _attempt(self, url: str, previous: TokenPair) -> _Attempt:
        now = Moment(self.clock.wall(), self.clock.octets)
        dated = Moment(self._time.stamp(now.wall), now.octets)
        parameters, subject = await self._grant(previous, url, dated)
        proof = await self._proof(url, dated)
        headers = [_FORM, *proof.headers]
        bound_to = None
        if self.proofs is not None:
            headers.append(("DPoP", self.proofs.proof(url, now)))
            bound_to = self.proofs.keys.current.thumbprint
        given = {name for name, _ in parameters}
        body = urlencode([*parameters, *(pair for pair in proof.parameters if pair[0] not in given)]).encode()
        asked = Asked(self.clock.wall(), self.clock.elapsed())
        received = await self.client.send("POST", url, headers=headers, body=body, incomplete=True)
        return _Attempt(asked, received, bound_to, subject)

    async def _proof(self, url: str, moment: Moment) -> Proof:
        config, secrets = self.config, self.secrets
        client_id = self._filled(config.client_id)
        if secrets.client_assertion is not None:
            return client_auth.ready_made(client_id, await secrets.client_assertion())
        method = config.token_endpoint_auth_method
        if client_id is None or isinstance(method, UnsetType) or method in {"none", "tls_client_auth"}:
            return client_auth.public(client_id)
        if method == "client_secret_basic":
            return client_auth.basic(client_id, await _read(secrets.client_secret), config.basic_encoding)
        if method == "client_secret_post":
            return client_auth.post(client_id, await _read(secrets.client_secret))
        by_secret = method == "client_secret_jwt"
        return client_auth.signed(
            client_id,
            await _read(secrets.client_secret if by_secret else secrets.client_assertion_key),
            config.token_endpoint_auth_signing_alg or ("HS256" if by_secret else "RS256"),
            self._audience(url),
            moment,
            key_id=config.client_assertion_key_id,
        )

    def _lesson(self, url: str, attempt: _Attempt) -> str | None:
        """What a refusal taught that makes another attempt worth while."""
        received = attempt.received
        answer = answer_of(received.status, received.headers)
        another_nonce = self.proofs is not None and self.proofs.learn(url, answer)
        refuses, code = refusal(received.status, received.body, received.headers.get("Content-Type"))
        if not refuses:
            return None
        if another_nonce:
            return _NONCE
        ours = [self._time] if self._dates or code == BAD_PROOF else []
        mended = [time.mend(answer, None) for time in (*ours, *self.secrets.dated_by())]
        return _TIME if any(mended) else None

    @property
    def _time(self) -> ServerTime:
        return self.time if self.proofs is None else self.proofs.time

    @property
    def _dates(self) -> bool:
        """Whether assertions are signed here."""
        return self.secrets.assertion_key is not None or self.config.token_endpoint_auth_method in _SIGNED_METHODS

    def _audience(self, url: str) -> str:
        """Who is to read a client assertion: the issuer by its URL, spelled as everywhere else."""
        audience = self.config.client_assertion_audience or self.config.issuer or url
        return self._filled_url(audience) if "://" in audience and audience != url else str(self._filled(audience))

    def _filled(self, value: Any) -> Any:
        return value if self.per is None else fill(value, {"per": self.per})

    def _filled_url(self, url: str) -> str:
        if self.per is None:
            return url
        try:
            return fill_url(url, {"per": self.per})
        except UnfitPartError as unfit:
            raise CredentialRefused(f"The value for {unfit} would lead the token request elsewhere") from None


async def _read(secret: Read | None) -> str:
    if secret is None:
        raise CredentialRefused("A secret that this grant needs is not configured")
    return await secret()


def _no_longer_than(subject: str, token: Token) -> Token:
    """RFC 8693: the result speaks for the subject, and must not do so once the subject's own token has ended."""
    ends = instant(jwt_claims(subject).get("exp"))
    if ends is None or (token.expires_wall is not None and token.expires_wall <= ends):
        return token
    lifetime = ends - token.issued_wall
    if lifetime <= 0:
        raise GrantRefused("The subject token has expired")
    return structs.replace(token, expires_wall=ends, expires_elapsed=token.issued_elapsed + lifetime, lifetime=lifetime)
