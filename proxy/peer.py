"""Who is at the other end of a unix socket, as the system knows it."""

from __future__ import annotations

import socket
import struct

_UCRED = struct.Struct("3i")
"""pid, uid, gid: `struct ucred` of unix(7)."""
_XUCRED = struct.Struct("2I")
"""version, uid: the beginning of macOS's `struct xucred`."""
_XUCRED_SIZE = 76
_MACOS_SOL_LOCAL, _MACOS_LOCAL_PEERCRED = 0, 1


def peer_uid(handle: socket.socket) -> int | None:
    """The user at the other end of a unix socket; None for other sockets. Raises OSError where nobody tells."""
    if handle.family != socket.AF_UNIX:
        return None
    if hasattr(socket, "SO_PEERCRED"):
        return int(_UCRED.unpack(handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1])
    octets = handle.getsockopt(_MACOS_SOL_LOCAL, _MACOS_LOCAL_PEERCRED, _XUCRED_SIZE)
    return int(_XUCRED.unpack(octets[: _XUCRED.size])[1])
