from __future__ import annotations

from proxy.tokens.store.failures import StoreFailures


def test_what_fails_is_told_until_it_works_again():
    failures = StoreFailures()
    assert (failures.errors, failures.last) == (0, None)
    assert failures.failed("read", "gone")
    assert failures.failed(("write", "crm"), "full")
    assert (failures.errors, failures.last) == (2, "full")
    assert failures.worked(("write", "crm"))
    assert failures.last == "gone"
    assert failures.worked("read", "never failed")
    assert (failures.errors, failures.last) == (2, None)


def test_only_a_change_is_news():
    failures = StoreFailures()
    assert [failures.failed("read", message) for message in ("gone", "gone", "denied", "gone")] == [
        True,
        False,
        True,
        True,
    ]
    assert failures.worked("read")
    assert not failures.worked("read")
    assert failures.errors == 4
