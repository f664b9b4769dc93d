"""What a service manager is told of our life, by systemd's protocol (sd_notify(3)): a datagram to $NOTIFY_SOCKET.

Nothing is sent where there is no such socket. A message that cannot be delivered is told once in the log and harms
nothing else: whether somebody watches us is no reason to serve or not to serve.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import MutableMapping

_PATIENCE = 1.0
"""Seconds that a full queue may hold us up: READY=1 must not be lost for a moment's crowd."""
_PINGS_PER_TIMEOUT = 2.0
"""sd_watchdog_enabled(3): at half of the time after which silence counts as death."""
_MICROSECONDS = 1_000_000

_log = logging.getLogger("auth_sidecar.app")


class ServiceManager:
    """Whoever started us and waits to hear of it, or nobody.

    `address`: a path, or `@` and a name in Linux's abstract namespace; empty: nobody. `watchdog`: seconds between two
    calls of `alive`, None where nobody counts them.
    """

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = watchdog if address else None
        self._failed = False

    @classmethod
    def of(cls, environ: MutableMapping[str, str], pid: int) -> ServiceManager:
        """Of the process `pid`, which is ours. The variables are removed: what we start speaks for itself alone."""
        address = environ.pop("NOTIFY_SOCKET", "")
        timeout = environ.pop("WATCHDOG_USEC", "")
        counted = environ.pop("WATCHDOG_PID", "") in {"", str(pid)} and timeout.isdecimal() and int(timeout) > 0
        if address and not address.startswith(("/", "@")):
            _log.warning("NOTIFY_SOCKET is %r: neither a path nor an abstract socket; nobody is notified", address)
            address = ""
        return cls(address, int(timeout) / _MICROSECONDS / _PINGS_PER_TIMEOUT if counted else None)

    def ready(self, status: str) -> None:
        """The listeners are open; or a reload has ended, well or not."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Until `ready`. The time is what systemd tells this reload from an earlier one by."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self, seconds: float) -> None:
        """The end begins, and may take that long."""
        self._send(
            "STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * _MICROSECONDS)}", "STATUS=draining what is in flight"
        )

    def alive(self) -> None:
        """The event loop turns."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                sender.connect(self._address)
                sender.send("\n".join(assignments).encode())
        except OSError as error:
            if not self._failed:
                _log.warning("the service manager cannot be notified: %s", (error.strerror or str(error)).lower())
            self._failed = True
        else:
            self._failed = False
