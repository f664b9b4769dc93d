from __future__ import annotations

import pytest

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.issuer_errors import GrantRefused, NoGrant, ReplyLost, ReplyUnreadable


@pytest.mark.parametrize("kind", [ReplyLost, ReplyUnreadable])
def test_what_leaves_open_what_became_of_the_grant_may_pass(kind):
    assert issubclass(kind, CredentialUnavailable)
    assert kind().status == 503


@pytest.mark.parametrize("kind", [GrantRefused, NoGrant])
def test_what_only_a_change_can_help_is_a_refusal(kind):
    assert issubclass(kind, CredentialRefused)
    assert kind().status == 502


def test_only_a_refused_grant_is_refused():
    assert [kind().refuses_grant for kind in (GrantRefused, NoGrant, ReplyLost, ReplyUnreadable)] == [True] + [
        False
    ] * 3
