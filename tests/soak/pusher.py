"""Somebody outside who gets tokens by themselves and pushes them: one credential lives on nothing else."""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
from support.process import Program

from proxy.sandbox.sandbox_server import Sandbox
from soak.gate import CLIENTS
from soak.order import PUSHED

GUARD = "what the refresher proves itself with"


class Pusher:
    """Brings a new token every now and then. `pushes`: how many were taken."""

    def __init__(self, program: Program, sandbox: Sandbox) -> None:
        self._url = f"{program.admin}/credentials/{PUSHED}/token"
        self._sandbox = sandbox
        self._turn = asyncio.Lock()
        self._serial = itertools.count(1)
        self.pushes = 0
        self.complaints: list[str] = []

    async def run(self, pause: float) -> None:
        """Go on until cancelled."""
        while True:
            await self.push()
            await asyncio.sleep(pause)

    async def revoke(self) -> None:
        """Everybody's tokens, but none that is on its way: it would be refused as soon as it is there."""
        async with self._turn:
            self._sandbox.ledger.revoke_access_tokens()

    async def push(self) -> None:
        """One token; nothing while the issuer is away."""
        async with self._turn, aiohttp.ClientSession() as http:
            try:
                token = await self._fetch(http)
            except aiohttp.ClientError:
                return
            number = next(self._serial)
            said = token if number % 2 else {"token": token, "endpointSecret": GUARD}
            headers = {"Authorization": f"Bearer {GUARD}"} if number % 2 else {}
            async with http.put(self._url, json=said, headers=headers) as answer:
                if answer.status == 200:
                    self.pushes += 1
                else:
                    self.complaints.append(f"push {number}: {answer.status}")

    async def _fetch(self, http: aiohttp.ClientSession) -> object:
        client = CLIENTS[PUSHED]
        form = {"grant_type": "client_credentials"}
        headers = {"Authorization": aiohttp.encode_basic_auth(client, f"secret of {client}")}
        async with http.post(self._sandbox.token_endpoint, data=form, headers=headers, raise_for_status=True) as answer:
            return await answer.json()
