"""A full valid file, bent and broken in thousands of ways: no crash, no mistake missed, no false alarm, no secret."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from support.full_file import ENVIRON, FULL, credential_of, furnish, load_all

from proxy.config.document import Span, YamlMapping, YamlNode, YamlScalar, YamlSequence, compose
from proxy.config.kinds import all_keys
from proxy.config.load import Loaded, load
from proxy.config.report import InvalidConfigurationError, Problem, render, to_json
from proxy.config.walker import CONFIG
from proxy.errors import ConfigurationError

SECRETS = (
    "hush",
    "literal-seed",
    "demo-header-value",
    "extra-parameter",
    "refresher-subject",
    "show-argument",
    "joined-user",
    "form-value",
    "get-token-argument",
    "exec-profile",
    "json-user",
    "raw-body-text",
    "json-word",
    "another-body",
    "google-issuer",
    "123456789",
    "MDEyMzQ1Njc4",
    "token-header",
    "assertion-claim",
    "assertion-header",
    "google-header",
    "google-scope",
    "jwt-header",
    "login-parameter",
)
FREE = {
    "set",
    "headers",
    "claims",
    "nested",
    "token_parameters",
    "json",
    "form",
    "credentials",
    "secrets",
    "names",
    "client_assertion_claims",
    "client_assertion_headers",
    "authorization_parameters",
    "keep",
}
TRAPS = ("NO", "yes", "1:30", "010", "1_000", "0x1f", "2024-01-01", "0b1", "1:30.5", ".inf", "0o17")


class Entry(NamedTuple):
    """A key and its value in the full file; `path` names the keys around it and its own."""

    path: tuple[str, ...]
    key: YamlScalar
    value: YamlNode
    flow: bool

    @property
    def free(self) -> bool:
        """Whether the key is the user's own word."""
        return (
            self.path[-2:-1] in {(name,) for name in FREE}
            or self.path[-3:-1] == ("tool", "env")
            or "claims" in self.path[:-2]
        )

    @property
    def secret(self) -> bool:
        """Whether what stands here may be a secret."""
        if isinstance(self.value, YamlMapping) and self.value.pairs:
            return getattr(self.value.pairs[0][0], "text", None) in {"env", "file", "exec", "value"}
        masked = {
            "set",
            "headers",
            "claims",
            "token_parameters",
            "json",
            "form",
            "body",
            "command",
            "exec",
            "env",
            "client_assertion_claims",
            "client_assertion_headers",
            "authorization_parameters",
        }
        named = self.path[-2:] == ("mailed", "form")  # of a form's parameter
        return self.path[-1] == "value" or (bool(masked & set(self.path[-2:]) - {"env"}) and not named)

    @property
    def json(self) -> bool:
        """Whether anything at all may stand here."""
        anything = {"json", "claims", "client_assertion_claims", "client_assertion_headers"}
        return bool(anything & set(self.path)) or self.path[-3:-1] in {("assertion", "headers"), ("app", "headers")}


def entries(node: YamlNode, path: tuple[str, ...] = ()) -> list[Entry]:
    found: list[Entry] = []
    if isinstance(node, YamlMapping):
        flow = LINES[node.span.line][node.span.column] == "{"
        for key, value in node.pairs:
            assert isinstance(key, YamlScalar)
            found.append(Entry((*path, key.text), key, value, flow))
            found += entries(value, (*path, key.text))
    elif isinstance(node, YamlSequence):
        for item in node.items:
            found += entries(item, path)
    return found


LINES = FULL.split("\n")
ROOT = compose(FULL).root
assert ROOT is not None
ENTRIES = entries(ROOT)


def replaced(span: Span, text: str) -> str:
    lines = list(LINES)
    if span.line == span.end_line:
        lines[span.line] = lines[span.line][: span.column] + text + lines[span.line][span.end_column :]
    else:
        lines[span.line : span.end_line] = [
            lines[span.line][: span.column] + text
        ]  # a block ends where the next key starts
    return "\n".join(lines)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("fuzz"))


def outcome(text: str, directory: Path) -> list[Problem]:
    """The errors of a text. Whatever comes out holds no secret."""
    try:
        loaded = load_all(text, directory)
    except InvalidConfigurationError as error:
        assert_silent(str(error) + str(to_json(error.problems)))
        return [problem for problem in error.problems if problem.severity == "error"]
    assert_silent(render(loaded.warnings) + str(loaded.shown) + repr(credential_of(loaded, "cc").initial_token))
    return []


def assert_silent(report: str) -> None:
    for secret in SECRETS:
        if secret in report:
            pytest.fail(f"a report holds the secret that starts with {secret[:4]}")


def at(problem: Problem, span: Span) -> bool:
    return (problem.line, problem.column) == (span.line + 1, span.column + 1)


def within(problem: Problem, span: Span) -> bool:
    place = (problem.line - 1, problem.column - 1)
    return (span.line, span.column) <= place <= (span.end_line, span.end_column)


def test_the_full_file_is_good_and_holds_every_key(directory):
    assert outcome(FULL, directory) == []
    assert all_keys(CONFIG) - {entry.path[-1] for entry in ENTRIES} == set()


@pytest.mark.parametrize("entry", [e for e in ENTRIES if not e.free], ids=lambda e: ".".join(e.path))
def test_a_misspelt_key_is_the_only_mistake_and_is_named_with_its_place(entry, directory):
    at_random = random.Random(str(entry.path))
    name = entry.key.text
    position = at_random.randrange(len(name))
    errors = outcome(replaced(entry.key.span, name[:position] + name[position] + name[position:]), directory)
    assert len(errors) == 1, render(errors)
    assert at(errors[0], entry.key.span)
    assert f"`{name}`" in (errors[0].hint or "")


@pytest.mark.parametrize("entry", random.Random(2).sample(ENTRIES, 150), ids=lambda e: ".".join(e.path))
def test_a_key_given_twice_is_the_only_mistake(entry, directory):
    value = FULL_TEXT(entry.value.span).rstrip()
    if entry.flow:
        text = replaced(entry.value.span, f"{value}, {entry.key.text}: {value}")
    else:
        lines, start = list(LINES), entry.key.span
        block = entry.value.span.line > start.line  # its end is where the next key starts
        end = entry.value.span.end_line if block else start.line + 1
        lines[end:end] = [" " * start.column + lines[start.line][start.column :], *lines[start.line + 1 : end]]
        text = "\n".join(lines)
    errors = outcome(text, directory)
    assert len(errors) == 1, render(errors)
    assert "given twice" in errors[0].message


def FULL_TEXT(span: Span) -> str:  # noqa: N802 - a slice of FULL
    lines = LINES[span.line : span.end_line + 1]
    if span.line == span.end_line:
        return lines[0][span.column : span.end_column]
    return "\n".join([lines[0][span.column :], *lines[1:-1], lines[-1][: span.end_column]])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: ".".join(e.path))
def test_a_value_of_the_wrong_kind_is_refused_where_it_stands(entry, directory):
    """A mapping with a foreign key is good nowhere but in JSON."""
    word = "hush" if entry.secret else "alien"
    form = random.Random(str(entry.path)).choice(
        ("{WORD: WORD}", "[[WORD], {env: ALIEN}]", "{env: [WORD, WORD], file: {a: b}}")
    )
    errors = outcome(replaced(entry.value.span, form.replace("WORD", word)), directory)
    if not entry.json and entry.path[-1] not in {*FREE, "env"}:
        lines = (entry.key.span.line + 1, entry.value.span.line + 1)
        assert any(problem.line in lines for problem in errors), render(errors)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.secret], ids=lambda e: ".".join(e.path))
def test_a_plain_word_in_the_place_of_a_secret_is_never_shown(entry, directory):
    for word in (
        "hush-plain",
        '"hush: \\" hush"',
        "|\n     hush\n     hush",
        "${hush}",
        "&a hush",
        "!hush hush",
        "*hush",
        "{{ hush }}",
    ):
        outcome(replaced(entry.value.span, word), directory)


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if isinstance(e.value, YamlScalar)], ids=lambda e: ".".join(e.path)
)
def test_the_traps_of_yaml_are_refused_everywhere(entry, directory):
    for trap in random.Random(str(entry.path)).sample(TRAPS, 1):
        errors = outcome(replaced(entry.value.span, trap), directory)
        assert any(at(problem, entry.value.span) for problem in errors), trap


AMISS = ("30", "30 s", "30sec", "1h30m", "64k", "-5s", "1e3s", "64kib", "5 KiB", "100/d", '"30"', "s")
AMOUNTS = [e for e in ENTRIES if isinstance(e.value, YamlScalar) and re.fullmatch(r"\d+([a-zA-Z]+|/s)", e.value.text)]


@pytest.mark.parametrize("entry", AMOUNTS, ids=lambda e: ".".join(e.path))
def test_an_amount_with_no_unit_or_a_wrong_one_is_refused_with_the_units(entry, directory):
    for wrong in random.Random(str(entry.path)).sample(AMISS, 4):
        errors = outcome(replaced(entry.value.span, wrong), directory)
        assert len(errors) == 1, (wrong, render(errors))
        assert at(errors[0], entry.value.span)
        assert "unit" in errors[0].message or "per s" in errors[0].message


REQUIRED = [
    e
    for e in ENTRIES
    if e.path[-1] in {"match", "upstream", "obtain", "type", "name", "value", "command", "callable", "domain"}
    and e.path[-1] != "domain"
    and e.path != ("routes", "name")
    and e.path[-2] != "initial_token"
    and e.path[-2] != "refresh_token"
]


@pytest.mark.parametrize("entry", REQUIRED, ids=lambda e: ".".join(e.path))
def test_a_required_key_that_is_gone_is_missed_by_name(entry, directory):
    begin, end = entry.key.span, entry.value.span
    whole = Span(begin.line, begin.column, end.end_line, end.end_column)
    lines = replaced(whole, "")
    text = re.sub(r"\{, ", "{", lines)
    text = re.sub(r", (?=,|\})", "", text)
    errors = outcome(text, directory)
    assert any(f"`{entry.path[-1]}`" in problem.message or "empty" in problem.message for problem in errors), render(
        errors
    )


def test_what_means_the_same_is_no_mistake(directory):
    """Quotes, comments, line ends, a byte order mark and another order change nothing."""
    expected = load_all(FULL, directory)
    blocks = re.split(r"\n(?=[a-z])", FULL.split("\n", 1)[1])
    reordered = "\n".join(random.Random(1).sample(blocks, len(blocks)))
    same = {
        "comments": "\n".join(f"{line}  # a comment" if line else "# another" for line in LINES),
        "line ends": FULL.replace("\n", "\r\n"),
        "document start": "---\n" + FULL + "\n...\n",
        "order": reordered,
        "blanks": "\n".join(line + "   " for line in LINES),
    }
    for name, text in same.items():
        assert load_all(text, directory).config == expected.config, name


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if isinstance(e.value, YamlScalar)], ids=lambda e: ".".join(e.path)
)
def test_a_quoted_string_is_the_same_string(entry, directory):
    assert isinstance(entry.value, YamlScalar)
    text = entry.value.text
    if not entry.value.plain or re.fullmatch(r"-?[\d.]+|true|false|null", text):
        return
    quoted = replaced(entry.value.span, f'"{text}"' if random.Random(text).random() < 0.5 else f"'{text}'")
    assert load_all(quoted, directory).config == GOOD(directory).config


@cache
def GOOD(directory: Path) -> Loaded:  # noqa: N802 - the full file, loaded
    return load_all(FULL, directory)


@pytest.mark.parametrize("seed", range(150))
def test_noise_ends_in_a_report_or_in_a_configuration(seed, directory):
    """Octets changed, dropped, doubled, cut; also words and lines moved about."""
    at_random = random.Random(seed)
    octets = bytearray(FULL.encode())
    for _ in range(at_random.choice((1, 1, 1, 2, 5, 40))):
        position = at_random.randrange(len(octets))
        match at_random.randrange(6):
            case 0:
                octets[position] = at_random.randrange(256)
            case 1:
                del octets[position : position + at_random.randrange(1, 30)]
            case 2:
                octets[position:position] = at_random.choice(
                    (
                        b"\t",
                        b"\0",
                        b"{",
                        b"[",
                        b"&a ",
                        b"*a ",
                        b"!!x ",
                        b"- ",
                        b": ",
                        b"'",
                        b'"',
                        b"|\n",
                        b"\xff",
                        b"\n",
                        b"<<: ",
                        b"%",
                        b"${",
                        b"# ",
                    )
                )
            case 3:
                other = at_random.randrange(len(octets))
                octets[position:position] = octets[other : other + at_random.randrange(1, 200)]
            case 4:
                lines = bytes(octets).split(b"\n")
                at_random.shuffle(lines)
                octets = bytearray(b"\n".join(lines))
            case 5:
                del octets[position + 200 :]
        octets = octets or bytearray(b"x")
    path = directory / "noise.yaml"
    path.write_bytes(octets)
    try:
        load(path, ENVIRON)
    except ConfigurationError as error:
        report = str(error)
        assert report.startswith(f"{path}:")
        assert_silent(report)
