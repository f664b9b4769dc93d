"""The names of keys, and the notice of a save; the scripts themselves are tried on a real server (test_redis)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from proxy.tokens.store.redis_scripts import Notice, RedisKeys, read_notice

NAMES = st.text(min_size=1).filter(lambda text: text.isprintable())


@given(NAMES, st.sampled_from(["auth-sidecar:", "", "a:b/", "x*[y]"]))
def test_all_keys_of_a_credential_are_in_one_slot_and_lead_back_to_its_name(name, prefix):
    keys = RedisKeys(prefix)
    record, lease = keys.record(name), keys.lease(name)
    assert record.startswith(prefix)
    assert lease.startswith(prefix)
    assert key_slot(record.encode()) == key_slot(lease.encode())
    assert keys.name_of(record) == name
    assert keys.name_of(lease) is None


def test_keys_are_what_the_documentation_says():
    keys = RedisKeys("auth-sidecar:")
    assert keys.record("crm") == "auth-sidecar:{crm}"
    assert keys.lease("crm") == "auth-sidecar:{crm}:lease"
    assert keys.channel == "auth-sidecar:changes"
    assert keys.pattern == "auth\\-sidecar:{*}"
    assert keys.name_of("other:{crm}") is None
    assert keys.name_of("auth-sidecar:changes") is None


@given(NAMES)
def test_a_notice_is_read_as_it_was_written(name):
    notice = Notice("0a1b", 7, name)
    assert read_notice(notice.encoded().encode()) == notice


@pytest.mark.parametrize("message", [b"", b"x", b"a b c", b"a 1", b"a 1 ", b" 1 c", b"\xff", "a ٣ c".encode()])
def test_what_is_no_notice_is_passed_over(message):
    assert read_notice(message) is None
