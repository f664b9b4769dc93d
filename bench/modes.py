"""What is sent: one mode is one kind of request from a number of connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Mode:
    """`body`: octets of a POST. `varied`: no two requests are the same, nor two answers.

    `octets`: what one request moves, where throughput is the point of it. `credentials`: so many beside the one that
    requests need, renewed all at once (`storm`) or left alone; the sidecar alone has them. `signs`: what the sidecar
    does to each request; all others put a Bearer token into it in any case. `message`: octets of a WebSocket message,
    one on its way on each connection; `push`: so many come on each connection in a second, all from the upstream.
    `replicas`: several processes and many managers that share their credentials.
    """

    name: str
    path: str
    connections: int
    body: int = 0
    close: bool = False
    varied: bool = False
    tls: bool = False
    idle: bool = False
    octets: int = 0
    credentials: int = 0
    storm: bool = False
    tenants: bool = False
    signs: Literal["bearer", "oauth1", "dpop", "sigv4"] = "bearer"
    message: int = 0
    push: int = 0
    replicas: bool = False

    @property
    def websocket(self) -> bool:
        """Whether it is messages that count, not requests."""
        return bool(self.message or self.push)


MODES = {
    mode.name: mode
    for mode in (
        Mode("small", "/small", 32),
        Mode("varied", "/varied", 32, varied=True),
        Mode("oauth1", "/small", 32, signs="oauth1"),
        Mode("dpop", "/small", 32, signs="dpop"),
        Mode("sigv4", "/sink", 32, body=1 << 10, signs="sigv4"),
        Mode("lat1", "/small", 1),
        Mode("tls", "/small", 32, tls=True),
        Mode("post1k", "/sink", 32, body=1 << 10),
        Mode("post1m", "/sink", 4, body=1 << 20, octets=1 << 20),
        Mode("64k", "/64k", 32, octets=64 << 10),
        Mode("10m", "/10m", 4, octets=10 << 20),
        Mode("close", "/small", 32, close=True),
        Mode("websocket", "/ws/echo", 32, message=128),
        Mode("wspush", "/ws/push", 100, push=100),
        Mode("idle", "/small", 1000, idle=True),
        Mode("storm", "/small", 64, credentials=500, storm=True),
        Mode("credentials", "/small", 1, credentials=2000),
        Mode("tenants", "/tenants", 1, credentials=4000, tenants=True),
        Mode("replicas", "/small", 32, replicas=True),
    )
}
