"""Secret references that are resolved on this machine: env, file, value. Pure: the clock is an argument.

`exec` and `credential` references are resolved in `proxy.tokens.secret`; `is_local` tells the two groups apart.
Messages name the reference and hold no part of a secret.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from proxy.config.json_pointer import follow
from proxy.config.schema import Secret
from proxy.errors import ConfigurationError
from proxy.file_stamp import FileStamp, stamp_of

MAX_SECRET = 1024 * 1024
_LOOK_EVERY = 1.0
_BYTE_ORDER_MARK = "\ufeff"
_INVISIBLE = " \t\r\n\u200b\u200c\u200d\u2060\ufeff"
_SOURCES = frozenset({"env", "file", "exec", "credential"})
_SURROGATE = re.compile("[\ud800-\udfff]")

_log = logging.getLogger("auth_sidecar.config")


class SecretError(ConfigurationError):
    """A reference that cannot be resolved: which, and why."""


def is_local(secret: Secret) -> bool:
    """Whether `read_secret` can resolve it: env, file or value."""
    return secret.exec is None and secret.credential is None and getattr(secret, "base64", None) is None


def looks_like_reference(keys: Collection[str]) -> bool:
    """Whether an object with these keys was meant as a secret reference, wherever it stands."""
    names = set(keys)
    return len(names & _SOURCES) == 1 and names <= _SOURCES | {"ttl", "json_pointer"}


def named(secret: Secret) -> str:
    """What a reference is called in messages."""
    if secret.env is not None:
        return f"the environment variable {secret.env}"
    if secret.file is not None:
        return f"the file {secret.file}"
    if secret.exec is not None:
        return "the command"
    if secret.credential is not None:
        return f"the credential {secret.credential}"
    return "the value"


def read_secret(secret: Secret, environ: Mapping[str, str]) -> str:
    """The secret, as `trimmed` leaves it. Raises SecretError."""
    if secret.file is not None:
        return _read_file(secret)[0]
    if secret.env is not None:
        if secret.env not in environ:
            raise SecretError(f"{named(secret)} is not set")
        return _checked(trimmed(environ[secret.env]), secret)
    if secret.value is not None:
        return _checked(trimmed(secret.value), secret)
    raise SecretError(f"{named(secret)} is not read here")


def trimmed(text: str) -> str:
    """A secret without the byte order mark and the last line break that editors add."""
    text = text.removeprefix(_BYTE_ORDER_MARK)
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def padded(text: str) -> bool:
    """Whether a secret begins or ends with white space or other invisible characters.

    Keys of several lines (PEM, JWK) are excepted: their parsers skip it.
    """
    core = text.strip(_INVISIBLE).strip()
    return core != text and not core.startswith(("-----BEGIN ", "{"))


def extract(text: str, pointer: str | None, name: str) -> str:
    """The string or number at a JSON pointer (RFC 6901) of a JSON text; the text itself without a pointer.

    `name` is what messages call the text. Raises SecretError.
    """
    if pointer is None:
        return text
    try:
        value: Any = json.loads(text.removeprefix(_BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        raise SecretError(f"{name} holds no JSON") from None
    try:
        value = follow(value, pointer)
    except LookupError:
        raise SecretError(f"{name} has nothing at {pointer}") from None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SecretError(f"{name} has no string at {pointer}")
    return str(value)


class WatchedSecret:
    """A secret that is read again when its file changes.

    The file is checked at most once a second; if it cannot be read any more, the last value stays in use. `elapsed`:
    seconds of a clock that never goes back. `changes` counts the new values since the first. Raises SecretError from
    the constructor only.
    """

    __slots__ = ("_elapsed", "_failing", "_looked", "_secret", "_stamp", "_value", "changes")

    def __init__(self, secret: Secret, environ: Mapping[str, str], elapsed: Callable[[], float]) -> None:
        self.changes = 0
        self._secret = secret
        self._elapsed = elapsed
        self._looked = elapsed()
        self._failing = False
        self._stamp: FileStamp | None = None
        if secret.file is not None:
            self._value, self._stamp = _read_file(secret)
        else:
            self._value = read_secret(secret, environ)

    def __repr__(self) -> str:
        """The reference, never the secret."""
        return f"WatchedSecret({named(self._secret)})"

    def current(self) -> str:
        """The current secret. Never raises."""
        if self._stamp is not None:
            now = self._elapsed()
            if now - self._looked >= _LOOK_EVERY:
                self._looked = now
                self._look()
        return self._value

    def newest(self) -> str:
        """The secret after a check of its file. Never raises."""
        if self._stamp is not None:
            self._looked = self._elapsed()
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            if stamp_of(Path(self._secret.file or "").stat()) == self._stamp:
                self._failing = False
                return
            value, self._stamp = _read_file(self._secret)
        except (OSError, SecretError) as error:
            if not self._failing:
                reason = (
                    str(error) if isinstance(error, SecretError) else f"{named(self._secret)} is gone or unreadable"
                )
                _log.warning("%s: its last value stays in use", reason)
            self._failing = True
            return
        self._failing = False
        if value != self._value:
            self._value = value
            self.changes += 1


def _read_file(secret: Secret) -> tuple[str, FileStamp]:
    name = named(secret)
    try:
        descriptor = os.open(secret.file or "", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not block
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SecretError(f"{name} is no regular file")
            octets = file.read(MAX_SECRET + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no such path").lower()
        raise SecretError(f"{name} cannot be read: {reason}") from None
    if len(octets) > MAX_SECRET:
        raise SecretError(f"{name} is larger than 1 MiB")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError(f"{name} is not UTF-8 text") from None
    return _checked(trimmed(extract(text, secret.json_pointer, name)), secret), stamp_of(status)


def _checked(text: str, secret: Secret) -> str:
    if not text and not secret.may_be_empty:
        raise SecretError(f"{named(secret)} is empty")
    if text.isspace():
        raise SecretError(f"{named(secret)} holds nothing but white space")
    if "\0" in text:
        raise SecretError(f"{named(secret)} holds a NUL")
    if _SURROGATE.search(text):  # octets of the environment, or an escape in JSON
        raise SecretError(f"{named(secret)} is not UTF-8 text")
    return text
