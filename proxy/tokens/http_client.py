"""One HTTP request to a token API, and what came of it.

No redirects (they would carry the client's secret elsewhere), no cookies, no connection that is used twice: a reused
one that dies leaves open whether the request arrived, and for a refresh token that is the difference between a retry
and a lost grant. Failures say exactly that: never sent, or sent and not answered.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping

import aiohttp
from msgspec import Struct, structs
from multidict import CIMultiDictProxy, MultiMapping
from yarl import URL

from proxy.config.no_proxy import NoProxy
from proxy.config.schema import ClientTls, TokenTimeouts, ViaProxy
from proxy.errors import CredentialUnavailable
from proxy.tokens.body import MAX_REPLY, unpacked
from proxy.tokens.deadline import deadline
from proxy.tokens.issuer_errors import ReplyLost, ReplyUnreadable
from proxy.tokens.secret import LiveSecret, basic
from proxy.tokens.tls import FollowedTls

_CHUNK = 64 * 1024
_LONGEST_FIELD = 64 * 1024
"""Octets. An answer that cannot be read for its cookies and policies may be the one with the rotated refresh token."""

_PROXY_DENIED = 407
_DENIED = "The proxy towards the {peer} wants another user name and password (status 407)"

_ALWAYS = (("Accept", "application/json"), ("Accept-Encoding", "identity"), ("User-Agent", "auth-sidecar"))


class Received(Struct, frozen=True):
    """An answer, read whole up to 1 MiB and one octet: what is longer is for the reader to refuse.

    `whole`: False where it broke off, and `body` is what had arrived.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    @property
    def ok(self) -> bool:
        """Whether the server agreed (RFC 9110 §15.3)."""
        return 200 <= self.status < 300  # noqa: PLR2004 - as named there

    def cookie(self, name: str) -> str | None:
        """The value of a cookie that the answer sets, the last where it comes more than once; None for none."""
        fields = self.headers.getall("Set-Cookie", ()) if isinstance(self.headers, MultiMapping) else ()
        pairs = (field.partition(";")[0].partition("=") for field in fields)
        values = [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]
        return values[-1] if values else None

    def __repr__(self) -> str:
        """Answers hold tokens."""
        return f"Received({self.status})"


class HttpClient:
    """A way out: TLS options, a proxy, deadlines. Shared by all credentials with the same three.

    Raises ConfigurationError where certificates cannot be read.
    """

    def __init__(
        self,
        tls: ClientTls | FollowedTls | None = None,
        via: ViaProxy | None = None,
        timeouts: TokenTimeouts | None = None,
        password: LiveSecret | None = None,
    ) -> None:
        """`password`: of `via`."""
        self._tls = tls if isinstance(tls, FollowedTls) else FollowedTls(tls)
        self._via = via
        self._password = password
        self._direct = NoProxy(via.no_proxy if via is not None else ("*",))
        self._timeouts = timeouts or TokenTimeouts()
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        incomplete: bool = False,
        peer: str = "token endpoint",
    ) -> Received:
        """Send one request within `timeouts.total`.

        `incomplete`: whether an answer that breaks off behind its head is better than none. `peer`: what errors call
        the server that is asked. Raises CredentialUnavailable where nothing of the request was sent, ReplyLost where
        its fate is unknown, ReplyUnreadable where what came is no HTTP.
        """
        sent: list[bool] = []
        head: Received | None = None
        arrived = bytearray()
        try:
            where = URL(url, encoded=True)
            proxy = self._proxy(where)
            login = await self._proxy_login() if proxy is not None else {}
            async with (
                deadline(self._timeouts.total),
                self._open().request(
                    method,
                    where,
                    headers=[*_merged(headers), *(login.items() if where.scheme == "http" else ())],
                    data=body,
                    allow_redirects=False,
                    ssl=self._tls.current() if where.scheme == "https" else True,
                    server_hostname=self._tls.server_name,
                    proxy=proxy,
                    proxy_headers=login if where.scheme == "https" else None,
                    trace_request_ctx=sent,
                ) as answer,
            ):
                if answer.status == _PROXY_DENIED and proxy is not None and where.scheme == "http":
                    raise CredentialUnavailable(
                        _DENIED.format(peer=peer)
                    )  # the proxy's own: nobody behind it has seen the request
                head = Received(answer.status, _joined(answer.headers), b"")
                await _read(answer.content, arrived)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if head is None or not incomplete:
                raise _error(error, peer, sent=bool(sent)) from None
            return _with_body(head, arrived, whole=False)
        return _with_body(head, arrived, whole=True)

    async def close(self) -> None:
        """Let go of the session; twice is fine, and a later `send` opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_note_sent)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a Content-Encoding that is none would cost the answer
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
                trace_configs=[trace],
                skip_auto_headers=("Content-Type",),
                max_line_size=_LONGEST_FIELD,
                max_field_size=_LONGEST_FIELD,
            )
        return self._session

    def _proxy(self, where: URL) -> URL | None:
        if self._via is None or self._direct.covers(where.host or "", where.port or 0):
            return None
        return URL(self._via.url)

    async def _proxy_login(self) -> dict[str, str]:
        """The field for the proxy, in its CONNECT or in what it forwards. Raises CredentialError."""
        if self._via is None or self._via.username is None:
            return {}
        password = await self._password.read() if self._password is not None else ""
        return {"Proxy-Authorization": basic(self._via.username, password)}


class HttpClients:
    """All ways out of the program, each made once."""

    def __init__(self) -> None:
        self._clients: dict[tuple[ClientTls | None, ViaProxy | None, TokenTimeouts], HttpClient] = {}
        self._tls: dict[ClientTls | None, FollowedTls] = {}

    def get(
        self,
        tls: ClientTls | None,
        via: ViaProxy | None,
        timeouts: TokenTimeouts,
        password: LiveSecret | None = None,
    ) -> HttpClient:
        """The client for these options. Raises ConfigurationError."""
        key = (tls, via, timeouts)
        if key not in self._clients:
            if tls not in self._tls:
                self._tls[tls] = FollowedTls(tls)
            self._clients[key] = HttpClient(self._tls[tls], via, timeouts, password)
        return self._clients[key]

    async def close(self) -> None:
        """Close them all."""
        for client in self._clients.values():
            await client.close()


async def _note_sent(
    _session: aiohttp.ClientSession, context: types.SimpleNamespace, _params: aiohttp.TraceRequestHeadersSentParams
) -> None:
    context.trace_request_ctx.append(True)


def _with_body(head: Received, arrived: bytearray, *, whole: bool) -> Received:
    body, unbroken = unpacked(bytes(arrived[: MAX_REPLY + 1]), head.headers.get("Content-Encoding"))
    return structs.replace(head, body=body, whole=whole and unbroken)


async def _read(content: aiohttp.StreamReader, arrived: bytearray) -> None:
    while len(arrived) <= MAX_REPLY and (chunk := await content.read(_CHUNK)):
        arrived += chunk


def _merged(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return [pair for pair in _ALWAYS if pair[0].lower() not in names] + given


def _joined(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    return headers.copy()


_EXPLAINED: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorCertificateError, "The {peer}'s certificate does not verify"),
    (aiohttp.ClientSSLError, "TLS with the {peer} failed"),
    (aiohttp.ClientHttpProxyError, "The proxy refused to connect to the {peer}"),
    (aiohttp.ClientResponseError, "The {peer}'s answer cannot be read"),
    (aiohttp.ClientProxyConnectionError, "The proxy towards the {peer} cannot be reached"),
    (aiohttp.ClientConnectorDNSError, "The {peer}'s name does not resolve"),
    (TimeoutError, "The {peer} did not answer in time"),
    (aiohttp.ClientConnectorError, "The {peer} cannot be reached"),
    (ValueError, "The {peer}'s URL is not one, or a header field for it is malformed"),
    (Exception, "The {peer} ended the connection without a whole answer"),
)
"""In our own words: the errors' texts hold URLs, and these hold secrets at times. The first that fits."""


def _error(error: Exception, peer: str, *, sent: bool) -> CredentialUnavailable:
    """Never sent, sent and not answered, or answered with what is no HTTP (to us)."""
    if not sent or isinstance(error, aiohttp.ClientHttpProxyError):
        return CredentialUnavailable(_explained(error, peer))
    return (ReplyUnreadable if isinstance(error, aiohttp.ClientResponseError) else ReplyLost)(_explained(error, peer))


def _explained(error: Exception, peer: str) -> str:
    denied = isinstance(error, aiohttp.ClientHttpProxyError) and error.status == _PROXY_DENIED
    text = _DENIED if denied else next(text for kind, text in _EXPLAINED if isinstance(error, kind))
    return text.format(peer=peer)
