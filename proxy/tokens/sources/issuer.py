"""Tokens from an OAuth 2 authorization server: one request to its token endpoint, for whichever grant is configured.

A refresh token is used first where there is one; the configured grant where there is none. Secrets are read anew and
assertions and proofs are made anew for every attempt. A refusal that taught how to make better ones, because it brought
a DPoP nonce or showed that the issuer's clock is another than ours, is worth one more attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from proxy.auth.dpop import BAD_PROOF
from proxy.auth.dpop_issuer import TokenEndpointProofs, answer_of
from proxy.auth.skew import ServerTime
from proxy.clock import Clock
from proxy.config.schema import OAuth2, TokenAnswer
from proxy.errors import CredentialRefused
from proxy.model import Moment, Token
from proxy.tokens import grants
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.body import members
from proxy.tokens.http_client import HttpClient, Received
from proxy.tokens.issuer_errors import GrantRefused
from proxy.tokens.lifetime import Asked, LastStated, jwt_claims
from proxy.tokens.parts import Parts
from proxy.tokens.reply import Expected, refusal
from proxy.tokens.sources import issuer_request
from proxy.tokens.sources.discovery import Discovery
from proxy.tokens.sources.issuer_request import IssuerSecrets
from proxy.tokens.spelled_time import instant
from proxy.tokens.token_request import packed
from proxy.tokens.token_response import NOTHING, TokenPair, TokenResponse

_NONCE, _TIME = "another nonce", "another time"
_SIGNED_METHODS = {"private_key_jwt", "client_secret_jwt"}
_KEEPING_REFRESH_TOKENS = {grants.REFRESH_TOKEN, grants.PASSWORD, grants.JWT_BEARER}
"""The other grants can be repeated at any time, and an exchanged token must not outlive its subject: they use a refresh
token only where the operator gave one."""


@dataclass(frozen=True, slots=True, repr=False)
class _Attempt:
    """One request, and what came of it.

    `bound_to`: the thumbprint of the key that proved; while the answer was on its way others may have taken up another
    one. `subject`: the token that the result must not outlive.
    """

    url: str
    asked: Asked
    received: Received
    bound_to: str | None
    subject: str | None


@dataclass(frozen=True, slots=True, repr=False)
class IssuerSource:
    """One credential of type `oauth2`. `config` as loaded, `per` filled into its strings.

    `follow_key`: called before a token is bound anew; takes up what the file of `dpop.key` holds now. `time`: the
    issuer's, where there are no `proofs` that know it. `presented`: a grant that a person gave, in place of the
    configured one; `presented_at`: another endpoint than the one for tokens.
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
    presented: grants.Parameters | None = None
    presented_at: str | None = None

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """A new token. Raises CredentialUnavailable, ReplyLost, ReplyUnreadable, CredentialRefused, GrantRefused."""
        known: set[str] = set()
        attempt = await self._attempt(previous)
        while (lesson := self._lesson(attempt)) is not None and lesson not in known:
            known.add(lesson)
            attempt = await self._attempt(previous)
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

    async def endpoint_of(self, name: str) -> str:
        """An endpoint that only a login asks. Raises CredentialRefused where nobody names it."""
        config = self.config
        if config.issuer is None:
            raise CredentialRefused(f"Neither {name} nor issuer is configured")
        return await self.discovery.endpoint(config.issuer, name, insecure=config.allow_insecure)

    async def says(self, name: str) -> Any:
        """What the issuer's metadata has under a name; None where there is no issuer to look it up."""
        config = self.config
        if config.issuer is None:
            return None
        return await self.discovery.says(config.issuer, name, insecure=config.allow_insecure)

    async def members(self) -> dict[str, Any]:
        """The members of a successful answer to what is `presented`. Raises CredentialError."""
        received = (await self._attempt(NOTHING)).received
        kind = received.headers.get("Content-Type")
        said = members(received.body, kind)
        if received.status == 200 and said is not None:  # noqa: PLR2004 - RFC 8628 §3.2
            return said
        code = refusal(received.status, received.body, kind)[1]
        raise CredentialRefused(f"The authorization server answered {received.status}" + (f" {code}" if code else ""))

    @property
    def _refreshes(self) -> bool:
        """Whether refresh tokens are kept and used."""
        if self.presented is not None:
            return True
        initial = self.config.initial_token
        given = initial is not None and initial.refresh_token is not None
        return given or self.config.grant_type in _KEEPING_REFRESH_TOKENS

    async def _attempt(self, previous: TokenPair) -> _Attempt:
        secrets, now = self.secrets, Moment(self.clock.wall(), self.clock.octets)
        dated = Moment(self._time.stamp(now.wall), now.octets)
        config = await issuer_request.filled(
            self.config, Parts(self.clock, dict(secrets.named), dict(secrets.references), per=self.per)
        )
        refresh_token = previous.refresh_token if self._refreshes else None
        url = await self._endpoint(config, refreshes=refresh_token is not None)
        if refresh_token is None:
            self.follow_key()  # only here: a refresh token stays with the key that binds it (RFC 9449 §5)
        if self.presented is None:
            parameters, subject = await issuer_request.grant(config, secrets, refresh_token, url, dated)
        else:
            parameters, subject = [*self.presented, *config.token_parameters.items()], None
        proof = await issuer_request.proof(config, secrets, url, dated)
        given = {name for name, _ in parameters}
        parameters += [pair for pair in proof.parameters if pair[0] not in given]
        request = packed(url, parameters, proof.headers, config.token_request)
        bound_to = None
        if self.proofs is not None:
            request.headers.append(("DPoP", self.proofs.proof(url, now)))
            bound_to = self.proofs.keys.current.thumbprint
        asked = Asked(self.clock.wall(), self.clock.elapsed())
        received = await self.client.send(
            "POST", request.url, headers=request.headers, body=request.body, incomplete=True
        )
        return _Attempt(url, asked, received, bound_to, subject)

    async def _endpoint(self, config: OAuth2, *, refreshes: bool) -> str:
        if self.presented_at is not None:
            return self.presented_at
        if refreshes and config.refresh_endpoint is not None:
            return config.refresh_endpoint
        if config.token_endpoint is not None:
            return config.token_endpoint
        if config.issuer is None:
            raise CredentialRefused("Neither token_endpoint nor issuer is configured")
        mtls = config.tls is not None and config.tls.cert_file is not None
        return await self.discovery.endpoint(
            config.issuer, "token_endpoint", mtls=mtls, configured=self.config.issuer, insecure=config.allow_insecure
        )

    def _lesson(self, attempt: _Attempt) -> str | None:
        """What a refusal taught that makes another attempt worth while."""
        received = attempt.received
        answer = answer_of(received.status, received.headers)
        another_nonce = self.proofs is not None and self.proofs.learn(attempt.url, answer)
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
    def _signs_assertions(self) -> bool:
        return self.secrets.assertion_key is not None or self.secrets.service_account is not None

    @property
    def _dates(self) -> bool:
        """Whether assertions are signed here."""
        return self._signs_assertions or self.config.token_endpoint_auth_method in _SIGNED_METHODS


def _no_longer_than(subject: str, token: Token) -> Token:
    """RFC 8693: the result speaks for the subject, and must not do so once the subject's own token has ended."""
    ends = instant(jwt_claims(subject).get("exp"))
    if ends is None or (token.expires_wall is not None and token.expires_wall <= ends):
        return token
    lifetime = ends - token.issued_wall
    if lifetime <= 0:
        raise GrantRefused("The subject token has expired")
    return structs.replace(token, expires_wall=ends, expires_elapsed=token.issued_elapsed + lifetime, lifetime=lifetime)
