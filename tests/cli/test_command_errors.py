"""What ends a command early."""

from __future__ import annotations

from proxy.cli.command_errors import RefusedError


def test_a_refusal_carries_the_status_that_it_came_with():
    assert (RefusedError(404, "not here").status, str(RefusedError(404, "not here"))) == (404, "not here")
