"""Ten thousand signed requests at once through the data path: no nonce, no proof is ever used twice."""

from __future__ import annotations

import asyncio
import time

from support.dpop import verified
from support.front import Gate, request
from support.oauth1 import CONSUMER_KEY, CONSUMER_SECRET, TOKEN, TOKEN_SECRET, is_signed, said

from proxy.auth.dpop import DpopScheme, claims_of
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.signature import OAuth1Keys

CONNECTIONS, EACH = 200, 50


def oauth1():
    keys = OAuth1Keys(consumer_secret=CONSUMER_SECRET, token=TOKEN, token_secret=TOKEN_SECRET)
    return OAuth1Scheme(CONSUMER_KEY, keys)


async def ten_thousand(upstream, scheme):
    """All requests are on their way before an answer is read."""

    async def one(gate, number):
        async with gate.client() as client:
            await client.send(b"".join(request(target=f"/crm/{number}?q={each}") for each in range(EACH)))
            return [(await client.answer()).status for _ in range(EACH)]

    async with Gate(upstream.url, scheme=scheme, limits={"max_in_flight": 1000}) as gate:
        statuses = await asyncio.gather(*(one(gate, number) for number in range(CONNECTIONS)))
    assert statuses == [[200] * EACH] * CONNECTIONS
    targets = {each.target for each in upstream.requests}
    assert len(targets) == len(upstream.requests) == CONNECTIONS * EACH
    return upstream.requests


async def test_ten_thousand_oauth1_signatures_share_no_nonce(upstream):
    started = int(time.time())
    requests = await ten_thousand(upstream, oauth1())
    parameters = [said(one) for one in requests]
    assert len({one["oauth_nonce"] for one in parameters}) == len(requests)
    assert all(one["oauth_nonce"].isalnum() and 20 <= len(one["oauth_nonce"]) <= 30 for one in parameters)
    assert all(started <= int(one["oauth_timestamp"]) <= time.time() for one in parameters)
    assert all(is_signed(one, upstream.url) for one in requests[::10])


async def test_ten_thousand_dpop_proofs_share_no_identifier(upstream):
    requests = await ten_thousand(upstream, DpopScheme(DpopKeys(DpopKey.generate())))
    claims = [claims_of([(b"DPoP", one.field(b"dpop"))]) for one in requests]
    assert len({one.jti for one in claims}) == len(requests)
    for one in requests[::20]:
        assert verified(one.field(b"dpop"))["htu"] == upstream.url + one.target.partition(b"?")[0].decode()
