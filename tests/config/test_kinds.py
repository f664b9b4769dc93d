"""Reading the types of the schema: what a field takes, in words and in tests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec.inspect as types
import pytest

from proxy.config.document import Span, YamlMapping, YamlScalar, YamlSequence
from proxy.config.kinds import (
    Marks,
    all_keys,
    alternatives,
    described,
    fits,
    found,
    holds_secret,
    placeholder,
    unit_hint,
    unwrap,
)
from proxy.config.schema import (
    OFF,
    ZERO,
    Credential,
    Duration,
    Listen,
    Rate,
    Retry,
    Route,
    Secret,
    Size,
)

PLACE = Span(0, 0, 0, 0)
PLAIN, QUOTED = True, False
WORD, LIST, MAPPING = YamlScalar("x", PLAIN, PLACE), YamlSequence((), PLACE, 1), YamlMapping((), (), PLACE, 1)


def test_annotations_become_marks():
    kind, marks = unwrap(types.type_info(Annotated[Duration | None, OFF, ZERO]), Marks())
    assert marks == Marks(off=True, zero=True)
    assert [type(k) for k in alternatives(kind)] == [types.CustomType, types.NoneType]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, ""),
        (int, 0),
        (bool, False),
        (float, 0.0),
        (Duration, 0.0),
        (tuple[str, ...], ()),
        (dict[str, str], {}),
        (str | None, None),
        (Any, None),
        (Literal["a"], "a"),
        (Secret, Secret()),
        (Listen, Listen(address="")),
        (str | Secret, ""),
    ],
)
def test_a_placeholder_says_nothing(kind, value):
    assert placeholder(types.type_info(kind)) == value


def test_every_struct_has_a_placeholder():
    for kind in (*alternatives(types.type_info(Credential)), types.type_info(Route)):
        assert placeholder(kind) is not None


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        (str, [WORD]),
        (int, [WORD]),
        (Listen, [WORD, MAPPING]),
        (Retry, [MAPPING]),
        (dict[str, str], [MAPPING]),
        (tuple[str, ...], [LIST]),
        (Any, [WORD, LIST, MAPPING]),
    ],
)
def test_a_node_fits_by_its_shape(kind, fitting):
    assert [node for node in (WORD, LIST, MAPPING) if fits(node, types.type_info(kind), Marks())] == fitting


def test_one_may_stand_for_many():
    assert fits(WORD, types.type_info(tuple[str, ...]), Marks(one_or_many=True))


def test_secrets_are_told_by_their_type():
    assert holds_secret(alternatives(types.type_info(Secret | None)))
    assert not holds_secret(alternatives(types.type_info(str | Retry)))


def test_kinds_and_nodes_in_words():
    assert [described(types.type_info(k)) for k in (str, Duration, Size, Rate, Literal["a", "b"], Retry)] == [
        "a string",
        "a duration",
        "a size",
        "a rate",
        "a or b",
        "a mapping",
    ]
    number, quoted, nothing = (
        YamlScalar("5", PLAIN, PLACE),
        YamlScalar("5", QUOTED, PLACE),
        YamlScalar("", PLAIN, PLACE),
    )
    assert [found(node) for node in (WORD, LIST, MAPPING, number, quoted, nothing)] == [
        "a string",
        "a list",
        "a mapping",
        "a number",
        "a string",
        "nothing",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30", "with a unit: 30s or 30ms"),
        ("1.5", "with a unit: 1.5s or 1.5ms"),
        ("5 m", "without the blank: 5m"),
        ("010", None),
        ("never", "write off"),
        ("soon", None),
    ],
)
def test_an_amount_that_cannot_be_read_is_mended(text, hint):
    assert unit_hint(text, Duration, off=True) == hint


def test_all_keys_are_found_within_lists_and_unions():
    assert {"match", "path", "discover", "allow_hosts", "env", "set"} <= all_keys(types.type_info(tuple[Route, ...]))
