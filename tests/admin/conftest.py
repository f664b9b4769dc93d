"""A program with one credential, `crm`, whose token is managed as the program manages it."""

from __future__ import annotations

import pytest
from support.program import Crm, manager_of

from proxy.admin.ports import CredentialView
from proxy.config.schema import UpdateGuard
from proxy.tokens.token_response import TokenResponse


@pytest.fixture
async def make_crm():
    made = []

    async def make(token=None, *, refresh_token=None, kind="oauth2", vend=False, **guard):
        crm = Crm()
        made.append(crm)
        crm.tokens = manager_of(crm.program.clock, crm.issuer, crm.store, renews=kind != "external")
        await crm.tokens.start()
        if token is not None:
            await crm.tokens.adopt(TokenResponse(token, refresh_token))
        crm.begun = crm.generation
        crm.program.credentials["crm"] = CredentialView(
            type=kind, tokens=crm.tokens, vend=vend, update=UpdateGuard(**guard), update_secret=lambda: "right"
        )
        return crm

    yield make
    for crm in made:
        await crm.tokens.stop()
