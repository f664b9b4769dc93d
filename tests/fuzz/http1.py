"""Coverage-guided fuzzing of the grammar: `python tests/fuzz/http1.py [-max_total_time=60] CORPUS`.

Needs the package installed, and atheris (`pip install atheris`; Linux). CORPUS is a directory that collects what was
interesting; an empty one is filled with the tests' own samples. What is held against the room:

- nothing is raised but what the room declares;
- where the network cuts a message changes nothing;
- a head that is accepted is made of exactly the octets that came;
- a body that is accepted, put in chunks again, is the same body;
- a path that stays below its prefix still does so when it is decoded and normalised.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from proxy.errors import ClientError, UpstreamError
from proxy.http1.answer import AnswerHead, read_answer
from proxy.http1.chunked import ChunkedDecoder, chunk, last_chunk
from proxy.http1.grammar import SPACED_NAME, GrammarError
from proxy.http1.host import parse_host
from proxy.http1.request import RequestHead, read_request
from proxy.http1.target import leaves_prefix, split_absolute, with_parameter, without_parameters

Head = TypeVar("Head")

LIMIT = 4096
COUNT = 50


def one_input(data: bytes) -> None:
    """The first octet says which reader gets the others, and where they are cut."""
    if data:
        READERS[data[0] % len(READERS)](data[1:], data[0])


def fuzz_request(data: bytes, cut: int) -> None:
    def read(octets: bytes, searched: int) -> RequestHead | None:
        return read_request(octets, searched, LIMIT, COUNT)

    def outcome(cuts: tuple[int, ...]) -> object:
        try:
            head = _arriving(read, data, cuts)
        except ClientError as error:
            return type(error)
        return head and (head.method, head.target, head.size, head.fields.section)

    whole = outcome(())
    assert whole == outcome((cut % (len(data) + 1),))
    if isinstance(whole, tuple):
        method, target, size, section = whole
        assert data[:size].lstrip(b"\r\n").startswith(b"%b %b HTTP/1." % (method, target))
        assert data[:size].endswith(section + b"\r\n")


def fuzz_answer(data: bytes, cut: int) -> None:
    def read(octets: bytes, searched: int) -> AnswerHead | None:
        return read_answer(octets, searched, LIMIT, COUNT)

    def outcome(cuts: tuple[int, ...]) -> object:
        try:
            head = _arriving(read, data, cuts)
        except UpstreamError as error:
            return type(error)
        return head and (head.line, head.size, head.section)

    whole = outcome(())
    assert whole == outcome((cut % (len(data) + 1),))
    if isinstance(whole, tuple):
        line, size, section = whole
        assert SPACED_NAME.sub(rb"\r\n\1:", data[8:size]) == b" %b%b\r\n" % (line, section)


def _arriving(read: Callable[[bytes, int], Head | None], data: bytes, cuts: tuple[int, ...]) -> Head | None:
    searched = 0
    for end in (*cuts, len(data)):
        head = read(data[:end], searched)
        if head is not None:
            return head
        searched = end
    return None


def fuzz_chunks(data: bytes, cut: int) -> None:
    for answer in (False, True):
        _fuzz_chunks(data, cut, answer=answer)


def _fuzz_chunks(data: bytes, cut: int, *, answer: bool) -> None:
    def outcome(cuts: tuple[int, ...]) -> object:
        decoder = ChunkedDecoder(LIMIT, COUNT, answer=answer)
        payload = b""
        start = 0
        try:
            for end in (*cuts, len(data)):
                payload += b"".join(decoder.feed(data[start:end]))
                start = end
        except GrammarError:
            return GrammarError
        return payload, decoder.done, decoder.trailers, decoder.rest

    whole = outcome(())
    assert whole == outcome((cut % (len(data) + 1),))
    if isinstance(whole, tuple) and whole[1]:
        payload, _, trailers, rest = whole
        again = ChunkedDecoder(LIMIT, COUNT)
        assert b"".join(again.feed(chunk(payload) + last_chunk(trailers) + rest)) == payload
        assert again.rest == rest


def fuzz_host(data: bytes, _: int) -> None:
    try:
        host, port = parse_host(data)
    except ClientError:
        return
    assert parse_host(host if port is None else b"%b:%d" % (host, port)) == (host, port)


def fuzz_path(data: bytes, rounds: int) -> None:
    path = b"/crm/" + data.partition(b"?")[0]
    if leaves_prefix(path, b"/crm"):
        return
    for _ in range(rounds % 5):
        path = unquote_to_bytes(path)
    normal = posixpath.normpath(path.replace(b"\\", b"/") if rounds & 0x80 else path)
    assert (normal + b"/").startswith((b"/crm/", b"//crm/"))


def fuzz_target(data: bytes, _: int) -> None:
    assert without_parameters(with_parameter(b"/" + data, b"\xffkey", b"v"), [b"\xffkey"]).startswith(
        without_parameters(b"/" + data, [b"\xffkey"]).rstrip(b"?&")
    )
    try:
        split_absolute(data)
    except ClientError:
        return


READERS = [fuzz_request, fuzz_answer, fuzz_chunks, fuzz_host, fuzz_path, fuzz_target]


def samples() -> list[bytes]:
    """The messages of the tests, as inputs for the readers that they are for."""
    from support import heads  # noqa: PLC0415 - a script finds it only after `main` has said where

    requests = [*heads.ACCEPTED_REQUESTS.values(), *heads.MALFORMED_REQUESTS.values()]
    answers = [*heads.ACCEPTED_ANSWERS.values(), *heads.MALFORMED_ANSWERS.values()]
    chunks = [b"5\r\nhello\r\n0\r\n\r\n", b'5;a="b";c=d\r\nhello\r\n00;e\r\nX: y\r\nZ:\r\n\r\nnext']
    hosts = [b"LocalHost:8080", b"[::1]:80", b"[v1.a]", b"a%2Db", b"user@a"]
    paths = [b"a/..", b"%2e%2e/a", b"a%2f..%5c..;b/x", b"%252e./x", b"a/b\\..\\%%32%65."]
    targets = [b"http://a/b?key=1&c", b"a?key=1&%6bey=2&c=+"]
    kinds = [requests, answers, chunks, hosts, paths, targets]
    return [bytes([number]) + sample for number, kind in enumerate(kinds) for sample in kind]


def main() -> None:
    """Fuzz until something breaks, or until libFuzzer's own options say that it is enough."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415 - the only dependency that nothing else needs

    sys.path.append(str(Path(__file__).parents[1]))
    for corpus in [Path(argument) for argument in sys.argv[1:] if Path(argument).is_dir()]:
        if not any(corpus.iterdir()):
            for number, sample in enumerate(samples()):
                (corpus / f"sample-{number}").write_bytes(sample)
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
