"""The recipe that everyone writes first: aiohttp's server and client, each message read whole before it is passed on.

Usage: naive_proxy.py PORT UPSTREAM TOKEN [CA_FILE]
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Mapping

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType, web

Socket = web.WebSocketResponse | ClientWebSocketResponse

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def crossing(headers: Mapping[str, str], *dropped: str) -> list[tuple[str, str]]:
    """The fields that cross a proxy."""
    return [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP.union(dropped)]


def application(upstream: str, token: str, ca_file: str | None) -> web.Application:
    """One handler for everything."""
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None

    async def session(app: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0, ssl=tls) if tls else TCPConnector(limit=0)
        async with ClientSession(connector=connector, auto_decompress=False) as client:
            app["client"] = client
            yield

    async def pump(source: Socket, sink: Socket) -> None:
        async for message in source:
            if message.type is WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            else:
                await sink.send_str(message.data)
        await sink.close()

    async def converse(request: web.Request) -> web.WebSocketResponse:
        client: ClientSession = request.app["client"]
        async with client.ws_connect(upstream + request.path_qs, headers={"Authorization": f"Bearer {token}"}) as there:
            here = web.WebSocketResponse()
            await here.prepare(request)
            await asyncio.gather(pump(here, there), pump(there, here))
            return here

    async def forward(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade") == "websocket":
            return await converse(request)
        async with request.app["client"].request(
            request.method,
            upstream + request.path_qs,
            headers=[*crossing(request.headers, "host", "authorization"), ("Authorization", f"Bearer {token}")],
            data=await request.read(),
            allow_redirects=False,
            server_hostname="upstream.test" if tls else None,
        ) as answer:
            body = await answer.read()
            fields = dict(crossing(answer.headers, "content-length"))
            return web.Response(status=answer.status, headers=fields, body=body)

    app = web.Application(client_max_size=1 << 30)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


if __name__ == "__main__":
    port, upstream_url, access_token, *ca = sys.argv[1:]
    web.run_app(
        application(upstream_url, access_token, ca[0] if ca else None),
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        print=None,
        backlog=4096,
        keepalive_timeout=600,
    )
