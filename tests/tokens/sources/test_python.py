"""The operator's own code: modules written for the test, imported for real."""

from __future__ import annotations

import asyncio
import sys

import pytest
from support.clock import FakeClock

from proxy.errors import ConfigurationError, CredentialRefused, CredentialUnavailable
from proxy.model import Request
from proxy.tokens.sources import python
from proxy.tokens.sources.python import PythonPicker, load

REQUEST = Request(b"PURGE", "https", b"api.example:8443", b"/v2/a%2Fb?x=%zz")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module beside the configuration; the interpreter forgets it afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str, name: str = "own_auth") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def picked(function, clock=None, **options):
    return PythonPicker(function, clock or FakeClock(), **options).pick(REQUEST, lambda _: None)


def test_all_requests_have_one_callable():
    async def function(*, url: str, method: str) -> str:
        return method + url

    picker = PythonPicker(function, FakeClock())
    first, second = (picker.pick(REQUEST, lambda _: None) for _ in range(2))
    assert picker.whose(first) is picker.whose(second)


# ---- loading ---------------------------------------------------------------------------------------------------------


async def test_a_function_beside_the_configuration_is_found(module, tmp_path):
    module("async def header(*, url: str, method: str) -> str:\n    return f'{method} {url}'\n")
    function = load("own_auth:header", beside=tmp_path)
    assert await function(url="u", method="GET") == "GET u"


async def test_an_object_that_is_called_is_found_within_a_module(module, tmp_path):
    module("class C:\n    async def __call__(self, **words):\n        return 'x'\nclass N:\n    inner = C()\n")
    assert await load("own_auth:N.inner", beside=tmp_path)(url="u", method="GET") == "x"


async def test_an_installed_module_needs_no_place(module, tmp_path, monkeypatch):
    module("async def header(**_words): return 'x'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert await load("own_auth:header")(url="u", method="GET") == "x"


def test_an_installed_module_is_not_shadowed_by_a_file_beside_the_configuration(module, tmp_path):
    module("async def dumps(*, url, method): return 'x'\n", name="json")
    with pytest.raises(ConfigurationError, match="must be `async def`"):
        load("json:dumps", beside=tmp_path)


@pytest.mark.parametrize(
    ("reference", "text", "reason"),
    [
        ("nowhere_at_all:f", "", "no module nowhere_at_all"),
        ("own_auth:f", "import nowhere_at_all\n", "no module nowhere_at_all"),
        ("own_auth:g", "f = 1\n", "own_auth has no g"),
        ("own_auth:", "f = 1\n", "own_auth"),
        ("own_auth:f", "f = 1\n", "must be `async def`"),
        ("own_auth:f", "def f(*, url, method): return ''\n", "must be `async def`"),
        ("own_auth:f", "async def f(uri): return ''\n", "keywords `url`, `method`"),
        ("own_auth:f", "async def f(url, method, other): return ''\n", "keywords `url`, `method`"),
        ("own_auth:f", "async def f(url, method, /): return ''\n", "keywords `url`, `method`"),
        ("own_auth:f", "raise RuntimeError('s3cret')\n", r"raised RuntimeError in .*own_auth\.py:1"),
        ("own_auth:f", "None.s3cret\n", r"raised AttributeError in .*own_auth\.py:1"),
        ("own_auth:f", "f = = 1\n", "raised SyntaxError"),
    ],
)
def test_what_cannot_be_called_is_a_configuration_error(module, tmp_path, reference, text, reason):
    module(text)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load(reference, beside=tmp_path)
    assert "s3cret" not in str(caught.value)


# ---- calling ---------------------------------------------------------------------------------------------------------


async def test_a_string_is_the_value_of_the_credentials_field_and_url_and_method_are_those_of_the_upstream():
    async def header(*, url: str, method: str) -> str:
        return f"Own {method} {url}"

    tokens = picked(header, header="X-Auth")
    assert tokens.ready() is None
    fields = (await tokens.current()).fields
    assert fields == ((b"X-Auth", b"Own PURGE https://api.example:8443/v2/a%2Fb?x=%zz"),)


async def test_a_dict_is_several_fields():
    async def headers(**_words: str) -> dict[str, str]:
        return {"X-Key": "k", "X-Date": "täglich"}

    assert (await picked(headers).current()).fields == ((b"X-Key", b"k"), (b"X-Date", "täglich".encode()))


async def test_the_callable_is_asked_for_every_request_and_every_renewal():
    asked = []

    async def header(*, url: str, method: str) -> str:
        asked.append((url, method))
        return f"v-{len(asked)}"

    tokens = picked(header)
    first = await tokens.current()
    assert tokens.ready() is None
    second = await tokens.current()
    third = await tokens.renew(second)
    assert [token.fields[0][1] for token in (first, second, third)] == [b"v-1", b"v-2", b"v-3"]


@pytest.mark.parametrize(
    "answer",
    [
        *(None, 7, [], {}, b"s3cret", ("s3cret",), {"X": 7}, {7: "s3cret"}, {"X": None}),
        *("", " s3cret", "s3cret\r\nX: y", "s3cret\udcff", {"X": "s3cret\x00"}, {"": "s3cret"}, {"s3cret:": "x"}),
        *("s3cret\udc80", {"X\udc80": "s3cret"}, "s3cret\u00a0"),
        *({"X\r\nY": "x"}, {"X-ü": "x"}, {"Host": "s3cret"}, {"content-length": "0"}, {"Transfer-Encoding": "chunked"}),
    ],
)
async def test_any_other_answer_is_refused_without_showing_it(answer, caplog):
    async def header(**_words: str):
        return answer

    with pytest.raises(CredentialRefused, match="The callable returned") as caught:
        await picked(header).current()
    assert "s3cret" not in f"{caught.value}{caplog.text}"


async def test_an_exception_is_told_by_its_place_alone(caplog):
    async def header(**_words: str) -> str:
        raise KeyError("s3cret")

    with pytest.raises(CredentialUnavailable, match="raised an exception") as caught:
        await picked(header).current()
    assert "raised KeyError in" in caplog.text
    assert "test_python.py" in caplog.text
    assert "s3cret" not in f"{caught.value}{caplog.text}"


async def test_a_callable_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(python, "_LONGEST_CALL", 0.01)

    async def header(**_words: str) -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(CredentialUnavailable, match="in time"):
        await picked(header).current()


# ---- the cache -------------------------------------------------------------------------------------------------------


def counting():
    asked: list[str] = []

    async def header(*, url: str, method: str) -> str:
        asked.append(method + url[:0])
        await asyncio.sleep(0)
        return f"v-{len(asked)}"

    return header, asked


async def test_a_cached_answer_serves_everybody_until_its_time_is_over():
    clock = FakeClock()
    header, asked = counting()
    picker = PythonPicker(header, clock, cache=60)
    one, other = (picker.pick(Request(b"GET", "https", b"a", path), lambda _: None) for path in (b"/1", b"/2"))
    first = await one.current()
    assert other.ready() is first
    assert await other.current() is first
    await clock.advance(59.9)
    assert one.ready() is first
    await clock.advance(0.1)
    assert one.ready() is None
    assert (await one.current()).fields == ((b"Authorization", b"v-2"),)
    assert len(asked) == 2


async def test_a_suspended_machine_does_not_stretch_the_cache():
    clock = FakeClock()
    tokens = picked(counting()[0], clock, cache=60)
    await tokens.current()
    clock.suspend(61)
    assert tokens.ready() is None


async def test_many_callers_ask_once_and_a_burst_of_refusals_asks_once_more():
    header, asked = counting()
    picker = PythonPicker(header, FakeClock(), cache=60)
    tokens = [picker.pick(REQUEST, lambda _: None) for _ in range(20)]
    first = set(await asyncio.gather(*(each.current() for each in tokens)))
    assert len(first) == len(asked) == 1
    second = set(await asyncio.gather(*(each.renew(next(iter(first))) for each in tokens)))
    assert len(second) == 1
    assert len(asked) == 2
    assert await tokens[0].renew(next(iter(first))) in second  # a late refusal of the first costs nothing
    assert len(asked) == 2


async def test_a_caller_that_hangs_up_cancels_nobody():
    header, asked = counting()
    picker = PythonPicker(header, FakeClock(), cache=60)
    leaver, stayer = (asyncio.create_task(picker.pick(REQUEST, lambda _: None).current()) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    assert (await stayer).fields == ((b"Authorization", b"v-1"),)
    assert len(asked) == 1


async def test_a_failure_is_not_cached():
    failing = [True]

    async def header(**_words: str) -> str:
        if failing.pop() if failing else False:
            raise OSError
        return "v-1"

    tokens = picked(header, cache=60)
    with pytest.raises(CredentialUnavailable):
        await tokens.current()
    assert (await tokens.current()).fields[0][1] == b"v-1"


async def test_a_callable_gets_what_its_signature_asks_for():
    section = b"X-Date: today\r\nX-Many: a\r\nx-many: b\r\nX-Raw: \xff\r\n"
    request = Request(b"PUT", "https", b"api.example", b"/x", body=b"hush", received_section=section)

    async def whole(*, url: str, method: str, headers: dict[str, str], body: bytes) -> str:
        assert (url, method, body) == ("https://api.example/x", "PUT", b"hush")
        return f"{headers['x-date']} {headers['x-many']}"

    async def only_headers(headers):
        return headers["x-date"]

    async def nothing() -> str:
        return "x"

    async def anything(**words) -> str:
        return " ".join(sorted(words))

    for function, wanted, value in (
        (whole, ("url", "method", "headers", "body"), b"today a, b"),
        (only_headers, ("headers",), b"today"),
        (nothing, (), b"x"),
        (anything, ("url", "method", "headers"), b"headers method url"),
    ):
        picker = PythonPicker(function, FakeClock())
        assert picker.wanted == wanted
        token = await picker.pick(request, lambda _: None).current()
        assert token.fields == ((b"Authorization", value),)
