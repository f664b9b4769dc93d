"""What a warm request costs in Python calls: the figure of the data path that no other load on a machine changes."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from support.front import Gate, request
from support.managed import Managed, PlayedSource

import proxy
from proxy.clock import SystemClock
from proxy.forward.write_batcher import BatchingLoop

MOST = 42
"""Of our own, and of the callbacks that asyncio begins with."""

REQUESTS = 10
OURS = str(Path(proxy.__file__).parent)
CALLBACKS = {"_SelectorSocketTransport._read_ready"}


def serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def calls_of_warm_requests() -> Counter[str]:
    """By function, over all `REQUESTS`: those within the callbacks of the two connections."""
    found: Counter[str] = Counter()
    loop = asyncio.get_running_loop()

    def seen(frame, event, _argument) -> None:
        code = frame.f_code
        ours = code.co_filename.startswith(OURS) and code.co_qualname != "SendingSelector.select"  # one in each turn
        if event == "call" and (ours or code.co_qualname in CALLBACKS):
            found[f"{code.co_filename.removeprefix(OURS)} {code.co_qualname}"] += 1

    def ask(times: int) -> None:
        for _ in range(times):
            app.sendall(request())
            assert app.recv(65536).endswith(b"\r\n\r\nok")

    clock: Any = SystemClock()
    managed = Managed(clock, PlayedSource(clock))
    await managed.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = threading.Thread(target=serve, args=(listener,))
        upstream.start()
        async with Gate(f"http://127.0.0.1:{listener.getsockname()[1]}", tokens=managed.manager) as gate:
            with socket.create_connection(("127.0.0.1", gate.port)) as app:
                await loop.run_in_executor(None, ask, 5)  # heads that come again are read once, and so on
                done = loop.run_in_executor(None, ask, REQUESTS)
                sys.setprofile(seen)
                try:
                    await done
                finally:
                    sys.setprofile(None)
        upstream.join()
    await managed.stop()
    return found


def test_a_warm_request_makes_few_calls():
    with asyncio.Runner(loop_factory=BatchingLoop) as runner:
        found = runner.run(calls_of_warm_requests())
    each = {name: count // REQUESTS for name, count in found.items() if count >= REQUESTS}
    assert sum(each.values()) <= MOST, "\n".join(f"{count} {name}" for name, count in sorted(each.items()))
