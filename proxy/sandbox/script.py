"""What can be scripted: settings that stay, and faults of the next requests. Pure: no I/O, no time."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

FaultKind = Literal[
    "status", "html", "garbage", "slow", "empty_token", "error_in_200", "huge", "redirect", "reset", "truncate"
]


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One misbehaviour of the next `times` requests (null: of all from now on).

    `status`, `error`, `retry_after`, `www_authenticate` shape the answer of kind `status`; `seconds` is how long `slow`
    waits before the request is served as usual.
    """

    kind: FaultKind
    times: int | None = 1
    status: int = 500
    error: str = "server_error"
    retry_after: str | None = None
    www_authenticate: str | None = None
    seconds: float = 1.0


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that `POST /control` can set; each member stays until it is set again.

    `expires_in`: seconds that an access token lives, and `expires_in_as` how its answer says so. `rotation`: a refresh
    token is good once. `reuse_detection`: a second use revokes the whole grant. `rotation_grace`: seconds in which the
    second use is forgiven. `jwt`: access tokens are signed JWTs (RFC 9068), not opaque. `dpop_nonce_window`: how many
    of the newest nonces are accepted. `outage`: connections to that part are cut off without an answer.
    """

    expires_in: float = 3600.0
    expires_in_as: Literal["number", "string", "omitted"] = "number"
    jwt: bool = False
    rotation: bool = True
    reuse_detection: bool = True
    rotation_grace: float = 0.0
    dpop_required: bool = False
    dpop_nonces: Literal["off", "required", "every_request"] = "off"
    dpop_nonce_window: int = 8
    outage: Literal["none", "token", "api", "all"] = "none"
    token_faults: tuple[Fault, ...] = ()
    api_faults: tuple[Fault, ...] = ()


class FaultQueue:
    """Faults in the order in which they happen to requests."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._waiting = [(fault, fault.times) for fault in faults]

    def take(self) -> Fault | None:
        """The fault of this request, if it has one."""
        while self._waiting:
            fault, left = self._waiting[0]
            if left is None:
                return fault
            if left > 0:
                self._waiting[0] = (fault, left - 1)
                return fault
            del self._waiting[0]
        return None

    def left(self) -> tuple[Fault, ...]:
        """The faults that are left, with the number of requests for each."""
        return tuple(msgspec.structs.replace(fault, times=left) for fault, left in self._waiting if left != 0)


class Script:
    """The current settings and the faults that are left."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._token_faults = FaultQueue(self._settings.token_faults)
        self._api_faults = FaultQueue(self._settings.api_faults)

    @property
    def settings(self) -> Settings:
        """The current settings, with the faults that are left."""
        return msgspec.structs.replace(
            self._settings, token_faults=self._token_faults.left(), api_faults=self._api_faults.left()
        )

    def change(self, **members: Any) -> Settings:
        """Set the given members, or none: raises msgspec.ValidationError for an unknown name or a wrong value.

        `token_faults` and `api_faults` replace the faults that are still waiting.
        """
        self._settings = msgspec.convert({**msgspec.to_builtins(self._settings), **members}, Settings)
        if "token_faults" in members:
            self._token_faults = FaultQueue(self._settings.token_faults)
        if "api_faults" in members:
            self._api_faults = FaultQueue(self._settings.api_faults)
        return self.settings

    def reset(self) -> Settings:
        """Restore settings and faults of the start."""
        self._settings = Settings()
        self._token_faults, self._api_faults = FaultQueue(), FaultQueue()
        return self._settings

    def token_fault(self) -> Fault | None:
        """The fault of this token request, if there is one."""
        if self._settings.outage in ("token", "all"):
            return Fault(kind="reset")
        return self._token_faults.take()

    def api_fault(self) -> Fault | None:
        """The fault of this API request, if there is one."""
        if self._settings.outage in ("api", "all"):
            return Fault(kind="reset")
        return self._api_faults.take()
