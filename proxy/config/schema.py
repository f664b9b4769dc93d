"""The complete configuration as frozen structs: names, types, defaults. What it means is read in the rooms that use it.

`walker.py` turns YAML nodes into these; `Duration`, `Size` and `Rate` carry units in the file (`30s`, `64KiB`,
`100/s`). After loading, paths are absolute, names and methods that depend on other keys are filled in
(`effective.py`), and every secret reference resolves.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field


class Duration(float):
    """Seconds. In the file: a number with ms, s, m, h or d."""


class Size(int):
    """Octets. In the file: a number with B, KiB, MiB, GiB (or KB, MB, GB: powers of ten)."""


class Rate(float):
    """Events per second. In the file: a number with /s, /m or /h."""


OFF = Meta(extra={"off": True})
"""A bare `off` stands for None."""
MASKED = Meta(extra={"masked": True})
"""Values that may be secret although they are ordinary strings: never shown."""
PATH = Meta(extra={"path": True})
"""A path, relative to the configuration's directory in the file, absolute after loading."""
ADDRESS = Meta(extra={"address": True})
"""An address; the path of `unix:path` is relative like every path. What stands behind `:/` is no part of it."""
VERBATIM = Meta(extra={"verbatim": True})
"""No `${NAME}` is substituted."""
ONE_OR_MANY = Meta(extra={"one_or_many": True})
"""A single item may stand for a list of one."""
SECRETS = Meta(extra={"secrets": True})
"""Any JSON, in which an object that is a secret reference stands for that secret."""
ZERO = Meta(extra={"zero": True})
"""A duration or a number that may be zero; no other may."""


def _nothing() -> dict[str, Any]:
    """The empty mapping, one for all: nobody writes into a configuration."""
    return _NOTHING


_NOTHING: dict[str, Any] = {}


class Node(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What every struct of the configuration has in common. `shorthand`: the key that a plain string stands for."""

    shorthand: ClassVar[str | None] = None


class Secret(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret by reference: exactly one of env, file, exec, credential, value."""

    may_be_empty: ClassVar[bool] = False

    env: Annotated[str | None, VERBATIM] = None
    file: Annotated[str | None, PATH] = None
    exec: Annotated[tuple[str, ...] | None, MASKED] = None
    credential: str | None = None
    value: Annotated[str | None, MASKED] = None
    ttl: Duration | None = None
    json_pointer: str | None = None

    def __repr__(self) -> str:
        """Where the secret is, never what it is."""
        kinds = (
            "env",
            "file",
            "exec",
            "credential",
            "request_header",
            "key",
            "google_service_account",
            "base64",
            "kept",
        )
        kind = next((kind for kind in kinds if getattr(self, kind, None) is not None), "value")
        return f"Secret({kind})"


class Password(Secret, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password of a user name, which may be empty."""

    may_be_empty: ClassVar[bool] = True


class EncodedSecret(Secret, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret by reference, or several (`base64`), joined by colons and encoded."""

    base64: Annotated[tuple[str | Secret, ...] | None, MASKED, ONE_OR_MANY] = None


class FieldValue(Secret, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret by reference, or what the credential's token answer said besides (`kept`)."""

    kept: str | None = None


# ---- listeners -----------------------------------------------------------------------------------------------------


class ListenTls(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate of one of our listeners."""

    cert_file: Annotated[str, PATH]
    key_file: Annotated[str, PATH]


class Listen(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One listener. In the file a plain string stands for `{address: …}`."""

    shorthand: ClassVar[str | None] = "address"

    address: Annotated[str, ADDRESS]
    tls: ListenTls | None = None


class Callers(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the proxy listener."""

    bearer: Secret | None = None
    unix_uids: Annotated[tuple[int, ...], ZERO] = ()


class UpdateGuardJwt(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guard of the update endpoint: an asymmetric JWT (RFC 7519) from a known issuer."""

    jwks_uri: str
    issuer: str
    audience: str
    claims: Annotated[dict[str, Any], MASKED]
    algorithms: tuple[str, ...] = ("RS256", "ES256")


class UpdateGuard(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may push a token into one credential."""

    secret: Secret | None = None
    jwt: UpdateGuardJwt | None = None
    allow_from: tuple[str, ...] | None = None
    max_age: Duration | None = None


class Admin(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The admin listener. `listen: off` disables it."""

    listen: Annotated[str | None, OFF, ADDRESS] = "127.0.0.1:9901"
    bearer: Secret | None = None


class Health(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listener for probes alone."""

    listen: Annotated[str, ADDRESS]


class UpdateListener(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listener for the update endpoint alone."""

    listen: Annotated[str, ADDRESS]
    tls: ListenTls | None = None
    allow_insecure: bool = False


# ---- routes --------------------------------------------------------------------------------------------------------


class Match(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests a route takes. In the file a plain string stands for `{path: …}`."""

    shorthand: ClassVar[str | None] = "path"

    path: str
    host: str | None = None
    methods: tuple[str, ...] | None = None


class Discover(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An upstream whose base URL is looked up. `scheme`: of a bare host; an http:// URL is refused with `https`."""

    url: str
    allow_hosts: tuple[str, ...]
    json_pointer: str = "/baseURI"
    credential: str | None = None
    scheme: Literal["https", "http"] = "https"
    ttl: Duration = Duration(600)


class DiscoveredUpstream(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An upstream that is looked up (`discover`), or that the token's answer names (`from_token`, a JSON pointer).

    `path` goes behind what the answer names. In the file a plain string stands for the URL.
    """

    discover: Discover | None = None
    from_token: str | None = None
    allow_hosts: tuple[str, ...] = ()
    scheme: Literal["https", "http"] = "https"
    path: str = ""

    @property
    def named(self) -> Discover:
        """What may be named, by whomever."""
        if self.discover is not None:
            return self.discover
        pointer = self.from_token or ""
        return Discover(url="", allow_hosts=self.allow_hosts, json_pointer=pointer, scheme=self.scheme)


class HeaderEdits(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields that are set or removed on the way to the upstream."""

    set: Annotated[dict[str, str | FieldValue], MASKED] = field(default_factory=_nothing)
    remove: tuple[str, ...] = ()


class QueryEdits(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters that are set on the way to the upstream."""

    set: Annotated[dict[str, str | Secret], MASKED] = field(default_factory=_nothing)


class RefreshRule(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that means: the token was refused."""

    status: int
    body_contains: str | None = None


class Retry(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a request is sent again. `max_attempts` counts all sends."""

    on_unauthorized: bool = True
    on_connect_error: bool = True
    max_attempts: int = 3
    buffer: Annotated[Size, ZERO] = Size(64 * 1024)


class RouteTimeouts(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deadlines of one exchange."""

    connect: Duration = Duration(5)
    response_header: Annotated[Duration | None, OFF] = Duration(60)
    idle: Annotated[Duration | None, OFF] = Duration(300)
    total: Annotated[Duration | None, OFF] = None


class ClientTls(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS towards an upstream or a token endpoint."""

    ca_file: Annotated[str | None, PATH] = None
    cert_file: Annotated[str | None, PATH] = None
    key_file: Annotated[str | None, PATH] = None
    server_name: str | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"


class ViaProxy(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP proxy to leave through. In the file a plain string stands for `{url: …}`."""

    shorthand: ClassVar[str | None] = "url"

    url: str
    username: str | None = None
    password: Secret | None = None
    no_proxy: tuple[str, ...] = ()


class RewriteResponse(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upstream URLs in answers that become the sidecar's own."""

    location: bool = False
    cookies: bool = False
    headers: tuple[str, ...] = ()
    json_pointers: tuple[str, ...] = ()


class Cors(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which browser origins may use a route, and how."""

    allow_origins: tuple[str, ...]
    allow_credentials: bool = False
    allow_headers: tuple[str, ...] | Literal["any"] = "any"
    expose_headers: tuple[str, ...] = ()
    max_age: Annotated[Duration, ZERO] = Duration(600)


class RouteLimits(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one route."""

    max_in_flight: int = 500
    rate: Rate | None = None


class Route(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One route."""

    match: Match
    upstream: Annotated[str | DiscoveredUpstream, ADDRESS]
    name: str | None = None
    credential: str | None = None
    strip_prefix: bool = True
    on_client_authorization: Literal["replace", "keep", "reject"] = "replace"
    headers: HeaderEdits = HeaderEdits()
    query: QueryEdits = QueryEdits()
    refresh_on: tuple[RefreshRule, ...] = (RefreshRule(status=401),)
    retry: Retry = Retry()
    timeouts: RouteTimeouts = RouteTimeouts()
    max_request_body: Annotated[Size | None, OFF, ZERO] = Size(1024**3)
    tls: ClientTls | None = None
    via_proxy: ViaProxy | None = None
    rewrite_response: RewriteResponse | None = None
    cors: Cors | None = None
    upgrades: tuple[str, ...] = ("websocket",)
    on_token_expiry: Literal["keep", "close"] = "keep"  # noqa: S105 - no password
    limits: RouteLimits = RouteLimits()
    host: str | None = None
    allow_insecure: bool = False


# ---- credentials ---------------------------------------------------------------------------------------------------


class Refresh(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a token is renewed ahead of its expiry."""

    at: float = 0.9
    before: Annotated[Duration, ZERO] = Duration(60)
    jitter: Annotated[float, ZERO] = 0.1
    eager: bool = True


class TokenTimeouts(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deadlines of one token request."""

    connect: Duration = Duration(2)
    total: Duration = Duration(10)


class InitialToken(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to start with. `timestamp`: when it was issued, in seconds or milliseconds."""

    access_token: Secret | None = None
    refresh_token: Secret | None = None
    expires_in: Annotated[float | None, ZERO] = None
    timestamp: float | None = None


class Per(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One token per value of a request header."""

    header: str
    pattern: str = "[A-Za-z0-9._~-]{1,128}"
    max: int = 1000


class Dpop(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sender-constrained tokens (RFC 9449). In the file `true` stands for all defaults."""

    alg: Literal["ES256", "ES384", "EdDSA", "PS256"] = "ES256"
    key: Secret | None = None
    key_password: Secret | None = None
    htu_base: str | None = None


class SubjectToken(Secret, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The subject of a token exchange: a secret by reference, or the caller's own token (`request_header`)."""

    request_header: str | None = None


class Assertion(Secret, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An assertion (RFC 7523): a ready-made one by reference, or the caller's own token (`request_header`).

    Or it is signed here, with `key` or with what the file of a Google service account (`google_service_account`) holds.
    """

    request_header: str | None = None
    key: Secret | None = None
    google_service_account: Secret | None = None
    key_password: Secret | None = None
    key_encoding: Literal["hex", "base64"] | None = None
    alg: str = "RS256"
    kid: str | None = None
    headers: Annotated[dict[str, Any], MASKED, SECRETS] = field(default_factory=_nothing)
    claims: Annotated[dict[str, Any], MASKED, SECRETS] = field(default_factory=_nothing)
    lifetime: Duration = Duration(3600)


class Fetched(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What belongs to every credential that somebody is asked for."""

    refresh: Refresh = Refresh()
    default_expires_in: Duration = Duration(3600)
    timeouts: TokenTimeouts = TokenTimeouts()
    via_proxy: ViaProxy | None = None
    required: bool = False


class Renewed(Fetched, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What belongs to every credential whose token is fetched or pushed."""

    header: str = "Authorization"
    header_prefix: str | UnsetType = UNSET  # "Bearer ", or "DPoP " with dpop
    query: str | None = None
    cookie: str | None = None
    initial_token: InitialToken | None = None
    update: UpdateGuard | None = None
    vend: bool = False
    per: Per | None = None


class AnswerField(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place in the head of a token answer: a header field or a cookie, exactly one."""

    header: str | None = None
    cookie: str | None = None


class RefusedAnswer(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that means: what was sent is refused, and is not to be sent again each minute."""

    status: int | None = None
    body_contains: str | None = None


class TokenAnswer(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a token answer keeps things: JSON pointers (RFC 6901), or places in its head.

    What is not named is found under the names that it usually has.
    """

    access_token: str | AnswerField | UnsetType = UNSET
    refresh_token: str | AnswerField | UnsetType | None = UNSET
    expires_in: str | AnswerField | UnsetType | None = UNSET
    expires_at: str | AnswerField | UnsetType | None = UNSET
    token_type: str | AnswerField | UnsetType | None = UNSET
    format: Literal["auto", "json", "text", "xml"] = "auto"
    expires_in_unit: Literal["s", "ms"] = "s"
    zero_expires_in: Literal["failure", "never"] = "failure"
    refused_on: tuple[RefusedAnswer, ...] = ()
    keep: dict[str, str | AnswerField] = field(default_factory=_nothing)


class HttpAnswer(TokenAnswer, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the answer of any token API keeps things: what is not named is not looked for."""

    access_token: str | AnswerField = "/access_token"  # noqa: S105 - no password
    refresh_token: str | AnswerField | None = "/refresh_token"  # noqa: S105 - no password
    expires_in: str | AnswerField | None = "/expires_in"
    expires_at: str | AnswerField | None = None
    token_type: str | AnswerField | None = None


class TokenRequest(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the token request of OAuth 2 goes out, where a server wants it otherwise than RFC 6749 does."""

    format: Literal["form", "json", "query"] = "form"
    headers: Annotated[dict[str, str | Secret], MASKED] = field(default_factory=_nothing)
    names: dict[str, str] = field(default_factory=_nothing)


class OAuth2(Renewed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="oauth2"):
    """A token from an OAuth 2 authorization server (RFC 6749)."""

    grant_type: Literal[
        "client_credentials",
        "refresh_token",
        "password",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ] = "client_credentials"
    issuer: str | None = None
    token_endpoint: str | None = None
    refresh_endpoint: str | None = None
    authorization_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    redirect_port: int | None = None
    authorization_parameters: Annotated[dict[str, str], MASKED] = field(default_factory=_nothing)
    scope_separator: str = " "
    pkce: Annotated[Literal["S256"] | None, OFF] = "S256"
    client_id: str | None = None
    client_secret: Secret | None = None
    token_endpoint_auth_method: (
        Literal[
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt",
            "tls_client_auth",
            "none",
        ]
        | UnsetType
    ) = UNSET
    token_endpoint_auth_signing_alg: str | None = None
    client_assertion_key: Secret | None = None
    client_assertion_key_id: str | None = None
    client_assertion_certificate: Secret | None = None
    client_assertion_claims: Annotated[dict[str, Any], MASKED, SECRETS] = field(default_factory=_nothing)
    client_assertion_headers: Annotated[dict[str, Any], MASKED, SECRETS] = field(default_factory=_nothing)
    key_password: Secret | None = None
    key_encoding: Literal["hex", "base64"] | None = None
    client_assertion_audience: str | None = None
    client_assertion: Secret | None = None
    basic_encoding: Literal["form", "raw"] = "form"
    scope: str | None = None
    audience: str | None = None
    resource: tuple[str, ...] = ()
    token_parameters: Annotated[dict[str, str], MASKED] = field(default_factory=_nothing)
    refresh_token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    assertion: Assertion | None = None
    subject_token: SubjectToken | None = None
    subject_token_type: str = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - no password
    actor_token: Secret | None = None
    actor_token_type: str | None = None
    requested_token_type: str | None = None
    secrets: dict[str, Secret] = field(default_factory=_nothing)
    token_request: TokenRequest = TokenRequest()
    response: TokenAnswer = TokenAnswer()
    allow_insecure: bool = False
    dpop: bool | Dpop = False
    tls: ClientTls | None = None


class OAuth1(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="oauth1"):
    """Requests signed as RFC 5849 says."""

    consumer_key: str
    consumer_secret: Secret | None = None
    token: Secret | None = None
    token_secret: Secret | None = None
    signature_method: Literal[
        "HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "RSA-SHA1", "RSA-SHA256", "RSA-SHA512", "PLAINTEXT"
    ] = "HMAC-SHA1"
    private_key: Secret | None = None
    key_password: Secret | None = None
    realm: str | None = None
    body_hash: Annotated[Literal["sha1", "sha256"] | None, OFF] = None
    body_hash_empty: bool = False
    body_buffer: Annotated[Size, ZERO] = Size(1024 * 1024)
    signing_base_url: str | None = None
    transmit: Literal["header", "query"] = "header"


class Header(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="header"):
    """A fixed value in a header field."""

    name: str
    value: EncodedSecret
    prefix: str = ""


class Query(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="query"):
    """A fixed value in a query parameter."""

    name: str
    value: EncodedSecret


class Body(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="body"):
    """A fixed value in the body of each request: in its JSON or in its form."""

    value: EncodedSecret
    json_pointer: str | None = None
    form: str | None = None
    body_buffer: Annotated[Size, ZERO] = Size(1024 * 1024)


class Bearer(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="bearer"):
    """A fixed Bearer token, re-read when its file changes (RFC 6750)."""

    token: Secret


class Basic(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="basic"):
    """User name and password (RFC 7617)."""

    username: Annotated[str | Secret, MASKED]
    password: Password | None = None


class External(Renewed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="external"):
    """A token that lives only on pushes."""


class DirectLine(Renewed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="direct_line"):
    """Bot Framework Direct Line 3.0: a token per conversation."""

    secret: Secret
    domain: str = "https://directline.botframework.com/v3/directline"
    per_conversation: bool = True
    conversation_idle: Duration = Duration(86400)
    max_conversations: int = 10000


class Jwt(Renewed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="jwt"):
    """A token signed here (RFC 7519)."""

    key: Secret
    key_password: Secret | None = None
    key_encoding: Literal["hex", "base64"] | None = None
    alg: str = "RS256"
    kid: str | None = None
    headers: Annotated[dict[str, Any], MASKED, SECRETS] = field(default_factory=_nothing)
    claims: Annotated[dict[str, Any], MASKED, SECRETS] = field(default_factory=_nothing)
    lifetime: Duration = Duration(540)


class Exec(Renewed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="exec"):
    """A token printed by a command: a Kubernetes ExecCredential."""

    command: Annotated[tuple[str, ...], MASKED]
    timeout: Duration = Duration(10)
    env: Annotated[dict[str, str], MASKED] = field(default_factory=_nothing)


class BasicLogin(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """User name and password of a token request, as Authorization holds them (RFC 7617)."""

    username: Annotated[str | Secret, MASKED]
    password: Password | None = None
    scheme: str = "Basic"


class HttpCall(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to a token API; strings may hold placeholders."""

    url: str
    method: str = "POST"
    headers: Annotated[dict[str, str | Secret], MASKED] = field(default_factory=_nothing)
    json: Annotated[Any, MASKED] = None
    form: Annotated[dict[str, str | Secret] | None, MASKED] = None
    body: Annotated[str | None, MASKED] = None
    basic: BasicLogin | None = None


class HttpRefresh(Refresh, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request that renews (absent `url`: `obtain` again), and when: one mapping holds both."""

    url: str | None = None
    method: str = "POST"
    headers: Annotated[dict[str, str | Secret], MASKED] = field(default_factory=_nothing)
    json: Annotated[Any, MASKED] = None
    form: Annotated[dict[str, str | Secret] | None, MASKED] = None
    body: Annotated[str | None, MASKED] = None
    basic: BasicLogin | None = None


class Http(Renewed, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="http"):
    """A token from any HTTP API."""

    obtain: HttpCall | None = None
    secrets: dict[str, Secret] = field(default_factory=_nothing)
    refresh: HttpRefresh = HttpRefresh()
    response: HttpAnswer = HttpAnswer()
    allow_insecure: bool = False
    tls: ClientTls | None = None


class Python(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="python"):
    """A callable of the user's own: `async def f(*, url: str, method: str) -> str | dict[str, str]`."""

    callable: str
    cache: Annotated[Duration | None, OFF] = None
    header: str = "Authorization"


class AwsRole(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role whose temporary keys are used. Without `web_identity`, the credential's own keys sign for them."""

    role_arn: str
    web_identity: Secret | None = None
    session_name: str = "auth-sidecar"
    external_id: str | None = None
    duration: Duration = Duration(3600)
    region: str | None = None
    endpoint: str | None = None


class AwsProfile(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One profile of a shared credentials file."""

    file: Annotated[str, PATH]
    name: str = "default"


class AwsSigV4(Fetched, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="aws_sigv4"):
    """Requests signed by AWS Signature Version 4. `from_request`: as the app's own signature names it."""

    service: str
    region: str
    allow_services: tuple[str, ...] = ()
    allow_regions: tuple[str, ...] = ()
    access_key_id: str | Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    profile: AwsProfile | None = None
    metadata: bool = False
    assume_role: AwsRole | None = None
    payload: Literal["signed", "unsigned", "as_sent"] = "signed"
    body_buffer: Annotated[Size, ZERO] = Size(10 * 1024 * 1024)
    tls: ClientTls | None = None


Credential = (
    OAuth2
    | OAuth1
    | AwsSigV4
    | Header
    | Query
    | Body
    | Bearer
    | Basic
    | External
    | DirectLine
    | Jwt
    | Exec
    | Http
    | Python
)


# ---- the rest ------------------------------------------------------------------------------------------------------


class MemoryStore(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="memory"):
    """Nothing outlives the process."""


class FileStore(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="file"):
    """Restart-safe; shared by the processes of one host."""

    path: Annotated[str, PATH]
    encryption_key: Secret | None = None


class RedisStore(Node, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="redis"):
    """Shared by replicas. Redis ≥ 6 or Valkey.

    `url`: as in `redis_url.py`; `username` and `password` are for those who keep them apart from it.
    """

    url: Secret
    username: str | None = None
    password: Secret | None = None
    tls: ClientTls | None = None
    encryption_key: Secret | None = None
    key_prefix: str = "auth-sidecar:"
    lease: Duration = Duration(30)
    timeout: Duration = Duration(0.5)
    on_unavailable: Literal["degrade", "fail"] = "degrade"


Store = MemoryStore | FileStore | RedisStore


class Limits(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the proxy listener."""

    max_connections: int = 1000
    max_in_flight: int = 500
    max_header_size: Size = Size(32 * 1024)
    max_headers: int = 200
    header_timeout: Duration = Duration(10)
    body_idle_timeout: Duration = Duration(60)
    keep_alive: Duration = Duration(75)


class Log(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"
    access: Annotated[Literal["errors", "all"] | None, OFF] = "errors"


class Shutdown(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How SIGTERM is served."""

    delay: Annotated[Duration, ZERO] = Duration(0)
    drain: Annotated[Duration, ZERO] = Duration(20)


class Config(Node, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    version: Literal[1] = 1
    listen: Annotated[tuple[Listen, ...], ONE_OR_MANY] = (Listen(address="127.0.0.1:8080"),)
    reuse_port: bool = False
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    callers: Callers | Literal["any"] | None = None
    admin: Admin = Admin()
    health: Health | None = None
    update: UpdateListener | None = None
    routes: tuple[Route, ...]
    credentials: dict[str, Credential] = field(default_factory=_nothing)
    store: Store = MemoryStore()
    limits: Limits = Limits()
    log: Log = Log()
    shutdown: Shutdown = Shutdown()
