"""A program with one credential, `crm`, whose token is managed as the program manages it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from support.program import Issuer, StandingProgram, WorkingStore, manager_of

from proxy.admin.view import Entry
from proxy.config.schema import UpdateGuard
from proxy.tokens.manager import TokenManager


@dataclass
class Crm:
    """`begun`: the generation at the beginning."""

    program: StandingProgram = field(default_factory=StandingProgram)
    issuer: Issuer = field(init=False)
    tokens: TokenManager = field(init=False)
    store: WorkingStore = field(default_factory=WorkingStore)
    begun: int = 0

    def __post_init__(self):
        self.issuer = Issuer(self.program.clock)

    @property
    def generation(self):
        return self.tokens.report().generation

    @property
    def held(self):
        return self.tokens.held()


@pytest.fixture
async def make_crm():
    made = []

    async def make(token=None, *, kind="oauth2", vend=False, **guard):
        crm = Crm()
        made.append(crm)
        crm.tokens = manager_of(crm.program.clock, crm.issuer, crm.store, renews=kind != "external")
        await crm.tokens.start()
        if token is not None:
            await crm.tokens.adopt(token)
        crm.begun = crm.generation
        crm.program.credentials["crm"] = Entry(
            type=kind, tokens=crm.tokens, vend=vend, update=UpdateGuard(**guard), update_secret=lambda: "right"
        )
        return crm

    yield make
    for crm in made:
        await crm.tokens.stop()
