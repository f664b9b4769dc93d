"""What cannot be made is told at once, each under its key."""

from __future__ import annotations

import pytest

from proxy.assembly.unusable import ErrorCollector, UnusableError, under
from proxy.errors import ConfigurationError


def test_an_error_knows_the_whole_way_to_its_key():
    with pytest.raises(ConfigurationError) as caught, under("credentials", "a"), under("dpop", "key"):
        raise ConfigurationError("no key")
    assert (caught.value.at, str(caught.value)) == (("credentials", "a", "dpop", "key"), "no key")


def test_all_errors_are_told_at_once_with_what_stood_behind_them():
    errors, done = ErrorCollector(), []
    for index in range(3):
        with errors.collect("routes", index):
            if index != 1:
                raise ConfigurationError(f"wrong {index}")
            done.append(index)
    with errors.collect():
        raise UnusableError([ConfigurationError("from within")])
    with pytest.raises(UnusableError) as caught:
        errors.raise_collected()
    assert done == [1]
    assert [(error.at, str(error)) for error in caught.value.errors] == [
        (("routes", 0), "wrong 0"),
        (("routes", 2), "wrong 2"),
        ((), "from within"),
    ]
    assert str(caught.value).startswith("routes[0]: wrong 0\nroutes[2]: wrong 2\n")


def test_without_errors_there_is_nothing_to_tell():
    errors = ErrorCollector()
    with errors.collect("routes", 0):
        pass
    errors.raise_collected()
