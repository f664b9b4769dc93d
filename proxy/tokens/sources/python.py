"""Header fields made by the operator's own code: `async def f(*, url: str, method: str) -> str | dict[str, str]`.

It is given what its signature asks for, of `url`, `method`, `headers` (a dict of the fields as the app sent them, by
lower-case names) and `body` (the whole of it, as bytes).

A string is the value of the credential's header field (`"Bearer …"`, whole); a dict is several fields. The callable is
asked for every request and every renewal, because its answer may depend on URL and method; with `cache` it is asked
once per that time, whoever calls. It runs in the event loop: it must not block. Nothing that it returns or raises is
ever quoted.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from proxy import defects
from proxy.auth.header import may_be_named, may_be_valued
from proxy.clock import Clock
from proxy.errors import ConfigurationError, CredentialRefused, CredentialUnavailable
from proxy.model import Field, Request, Token
from proxy.tokens.credential import Tokens
from proxy.tokens.lifetime import Asked, Life, dated

log = logging.getLogger("auth_sidecar.tokens")

Answer = str | dict[str, str]
Function = Callable[..., Coroutine[Any, Any, Answer]]

_LONGEST_CALL = 30.0
_OFFERED = ("url", "method", "headers", "body")
_OFFERED_NAMES = "some of the keywords `url`, `method`, `headers` and `body`"


def load(reference: str, *, beside: Path | None = None) -> Function:
    """Import `module:function`; `beside` (the configuration's directory) is searched after the installed packages.

    Raises ConfigurationError: no such module or function, an exception while importing, not `async`, other parameters.
    """
    module_name, _, name = reference.partition(":")
    if beside is not None and str(beside) not in sys.path:
        sys.path.append(str(beside))
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"callable {reference}: there is no module {error.name}") from None
    except AttributeError as error:
        if error.obj is None or not name:
            raise ConfigurationError(_failed_import(reference, error)) from None
        raise ConfigurationError(f"callable {reference}: {module_name} has no {name}") from None
    except Exception as error:  # noqa: BLE001 - whatever the operator's code raises
        raise ConfigurationError(_failed_import(reference, error)) from None
    if not inspect.iscoroutinefunction(found) and not inspect.iscoroutinefunction(getattr(found, "__call__", None)):  # noqa: B004
        raise ConfigurationError(f"callable {reference}: must be `async def`")
    try:
        inspect.signature(found).bind(**dict.fromkeys(wanted(found)))
    except (TypeError, ValueError):
        raise ConfigurationError(f"callable {reference}: must take {_OFFERED_NAMES}, and no others") from None
    function: Function = found
    return function


def wanted(function: Function) -> tuple[str, ...]:
    """Which of the offered keywords a callable's signature names; all but the body where it takes any."""
    parameters = inspect.signature(function).parameters.values()
    named = [one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return tuple(name for name in _OFFERED if name in named or (takes_any and name != "body"))


class PythonPicker:
    """Each request has tokens of its own; with a cache they share one."""

    strips: tuple[bytes, ...] = ()

    def __init__(
        self, function: Function, clock: Clock, *, header: str = "Authorization", cache: float | None = None
    ) -> None:
        """`cache`: seconds that an answer serves every URL and method; None: none."""
        self._function = function
        self.wanted = wanted(function)
        self._clock = clock
        self._header = header
        self._cache = cache
        self._held: Token | None = None
        self._asking: asyncio.Task[Token] | None = None

    def pick(self, request: Request, field: Callable[[bytes], bytes | None]) -> Tokens:  # noqa: ARG002 - the interface
        """The tokens of this very request."""
        return _ForRequest(self, request)

    def whose(self, tokens: Tokens) -> object:  # noqa: ARG002 - the interface
        """There is one callable for all requests."""
        return self

    def held(self) -> Token | None:
        """The cached answer, while it lasts."""
        held = self._held
        if held is None or held.expires_elapsed is None or self._clock.elapsed() >= held.expires_elapsed:
            return None
        return held

    async def ask(self, request: Request, refused: Token | None) -> Token:
        """The callable's answer; with a cache, one question at a time, whoever asks. Raises CredentialError."""
        if self._cache is None:
            return await self._call(request)
        held = self.held()
        if held is not None and held is not refused:
            return held
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._fill_cache(request))
        return await asyncio.shield(self._asking)

    async def _fill_cache(self, request: Request) -> Token:
        self._held = None
        self._held = await self._call(request)
        return self._held

    async def _call(self, request: Request) -> Token:
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        try:
            async with asyncio.timeout(_LONGEST_CALL):
                answer = await self._function(**{name: _offered(name, request) for name in self.wanted})
        except TimeoutError:
            raise CredentialUnavailable("The callable did not answer in time") from None
        except defects.ENDS:
            raise
        except BaseException as error:  # whatever the operator's code raises, `exit` included
            if defects.cancelled(error):
                raise
            log.warning("the callable raised %s in %s", type(error).__name__, _where(error))
            raise CredentialUnavailable("The callable raised an exception") from None
        fields = _fields({self._header: answer} if isinstance(answer, str) else answer)
        life = Life(self._cache or 0.0, stated=self._cache is not None)
        return dated(Token(access_token="", fields=fields), asked, life)


class _ForRequest:
    __slots__ = ("_picker", "_request")

    def __init__(self, picker: PythonPicker, request: Request) -> None:
        self._picker = picker
        self._request = request

    def ready(self) -> Token | None:
        return self._picker.held()

    async def current(self) -> Token:
        return await self._picker.ask(self._request, None)

    def predecessor(self, young: Token) -> Token | None:
        """None: what the callable said before was for another request."""

    async def renew(self, refused: Token) -> Token:
        return await self._picker.ask(self._request, refused)


def _offered(name: str, request: Request) -> Any:
    """What a callable gets for one of its keywords."""
    match name:
        case "url":
            return f"{request.scheme}://{request.authority.decode('latin-1')}{request.target.decode('latin-1')}"
        case "method":
            return request.method.decode("latin-1")
        case "body":
            return request.body or b""
    fields: dict[str, str] = {}
    for line in request.received_section.splitlines():
        field, _, value = line.partition(b":")
        called, text = field.decode("latin-1").lower(), value.strip(b" \t").decode("utf-8", "surrogateescape")
        fields[called] = f"{fields[called]}, {text}" if called in fields else text
    return fields


def _fields(answer: Any) -> tuple[Field, ...]:
    """The header fields of an answer. Raises CredentialRefused, without a word of it, for what no head can carry."""
    if not isinstance(answer, dict) or not answer:
        raise CredentialRefused("The callable returned neither a string nor a dict of strings")
    fields = []
    for name, value in answer.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise CredentialRefused("The callable returned neither a string nor a dict of strings")
        field = _octets(name), _octets(value)
        if not may_be_named(field[0]):
            raise CredentialRefused("The callable returned a name that is no header field for a credential")
        if not field[1] or value != value.strip() or not may_be_valued(field[1]):
            raise CredentialRefused("The callable returned a value that no header field can carry")
        fields.append(field)
    return tuple(fields)


def _octets(text: str) -> bytes:
    """UTF-8; nothing where that has no octets for it (half of a surrogate pair)."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""


def _failed_import(reference: str, error: Exception) -> str:
    return f"callable {reference}: importing it raised {type(error).__name__} in {_where(error)}"


def _where(error: BaseException) -> str:
    """The place of the failure, and none of the text: that may hold secrets."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
