from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from proxy.sandbox.script import Fault, FaultKind, FaultQueue, Script, Settings

PAGE = Path(__file__).parent.parent.parent / "docs" / "sandbox.md"


def test_every_setting_and_every_fault_is_documented_and_every_default_is_right():
    page = PAGE.read_text()
    for name, default in msgspec.to_builtins(Settings()).items():
        if not name.endswith("_faults"):
            spelled = msgspec.json.encode(default).decode().removesuffix(".0")
            assert f"| `{name}` | `{spelled}` |" in page
        assert f"`{name}`" in page
    for kind in get_args(FaultKind):
        assert f"`{kind}`" in page


def test_a_fault_strikes_as_often_as_it_was_asked_to_and_then_the_next_one_does():
    queue = FaultQueue((Fault(kind="html", times=2), Fault(kind="reset")))
    kinds = [fault.kind if (fault := queue.take()) else None for _ in range(4)]
    assert kinds == ["html", "html", "reset", None]


def test_a_fault_without_times_strikes_until_it_is_replaced():
    script = Script()
    script.change(api_faults=[{"kind": "status", "status": 503, "times": None}])
    assert {fault and fault.status for fault in (script.api_fault() for _ in range(50))} == {503}
    script.change(api_faults=[])
    assert script.api_fault() is None


def test_the_settings_show_the_faults_that_are_still_to_come():
    script = Script()
    script.change(token_faults=[{"kind": "garbage", "times": 3}])
    script.token_fault()
    assert script.settings.token_faults == (Fault(kind="garbage", times=2),)


def test_a_change_of_one_member_leaves_the_others_and_the_waiting_faults_alone():
    script = Script()
    script.change(expires_in=5, token_faults=[{"kind": "html", "times": 2}])
    script.token_fault()
    script.change(rotation=False)
    assert (script.settings.expires_in, script.settings.rotation) == (5.0, False)
    assert script.settings.token_faults == (Fault(kind="html", times=1),)


@pytest.mark.parametrize("members", [{"expires_im": 5}, {"outage": "some"}, {"token_faults": [{"kind": "bad"}]}])
def test_what_is_unknown_is_refused_and_changes_nothing(members):
    script = Script()
    before = script.settings
    with pytest.raises(msgspec.ValidationError):
        script.change(**members)
    assert script.settings == before


@pytest.mark.parametrize(
    ("outage", "token", "api"), [("none", None, None), ("token", "reset", None), ("api", None, "reset")]
)
def test_an_outage_cuts_off_only_the_part_that_it_names(outage, token, api):
    script = Script()
    script.change(outage=outage)
    faults = (script.token_fault(), script.api_fault())
    assert tuple(fault and fault.kind for fault in faults) == (token, api)


def test_a_reset_forgets_settings_and_faults():
    script = Script()
    script.change(expires_in=1, api_faults=[{"kind": "reset"}])
    script.reset()
    assert script.settings == Script().settings
    assert script.api_fault() is None
