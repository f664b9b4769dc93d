"""Heads of every kind against the whole program: what reaches the API, what the app is told, and that nothing which
stands behind a refused head is ever taken for a request.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from support.front import Client
from support.heads import ACCEPTED_ANSWERS, ACCEPTED_REQUESTS, HOST, MALFORMED_ANSWERS, MALFORMED_REQUESTS, get, post
from support.heads import REFUSED_REQUESTS as NOT_OURS
from support.recording_upstream import CLOSE
from support.running import Running

SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
REFUSED_REQUESTS = {
    name: (get(line, b"Transfer-Encoding: " + coding) if coding else get(line), status)
    for name, (line, coding, _, status) in NOT_OURS.items()
} | {
    "an empty coding beside a length": (post(b"Transfer-Encoding:", b"Content-Length: 5"), 400),
    "a length beyond what a body may have": (ACCEPTED_REQUESTS["the largest length"], 413),
}
BODIES = {
    "a length": b"12345",
    "a length with zeros before it": b"12345",
    "white space around a length": b"12345",
    "white space before a colon": b"12345",
    "an Upgrade to h2c with a length": b"12345",
    "an Upgrade to others with chunks": b"5\r\n12345\r\n0\r\n\r\n",
    "the chunked coding": b"5\r\n12345\r\n0\r\n\r\n",
    "the chunked coding in capitals": b"5\r\n12345\r\n0\r\n\r\n",
}


@pytest.fixture
async def program(upstream, tmp_path):
    config = {
        "routes": [{"match": "/", "upstream": upstream.url, "credential": "key"}],
        "credentials": {"key": {"type": "bearer", "token": {"value": "t0ken"}}},
    }
    async with Running(config, tmp_path) as running:
        yield running


async def told(program, octets):
    """All that comes back on a connection of its own until the program ends it."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(octets)
    async with asyncio.timeout(30):
        said = await reader.read()
    writer.close()
    return said


def statuses(said):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)]


async def test_what_is_outside_the_grammar_is_400_and_nothing_behind_it_is_a_request(program, upstream):
    """Rows 3, 6, 7, 9, 10 and 11."""
    wrong = {}
    for name, head in MALFORMED_REQUESTS.items():
        said = await told(program, head + SMUGGLED)
        if statuses(said) != [400]:
            wrong[name] = said
    assert wrong == {}
    assert upstream.requests == []


async def test_what_is_not_ours_to_do_has_its_status_and_nothing_behind_it_is_a_request(program, upstream):
    """Rows 3, 4, 5, 7 and 11."""
    wrong = {}
    for name, (head, status) in REFUSED_REQUESTS.items():
        said = await told(program, head + SMUGGLED)
        if statuses(said) != [status]:
            wrong[name] = said
    assert wrong == {}
    assert upstream.requests == []


async def test_what_is_well_formed_reaches_the_api_as_it_was_sent(program, upstream):
    """Rows 7, 8, 10, 16, 17, 20 and 21."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    for name, head in ACCEPTED_REQUESTS.items():
        if name == "the largest length":
            continue
        reader, writer = await asyncio.open_connection(host, int(port))
        client = Client(reader, writer)
        answer = await client.ask(head + BODIES.get(name, b""))
        writer.close()
        assert answer.status == 200, name

        sent, came = head.removeprefix(b"\r\n").partition(b"\r\n")[0].split(b" "), upstream.requests[-1]
        assert came.line.split(b" ")[0] == sent[0], name
        assert came.target == sent[1].removeprefix(b"http://localhost:8080"), name
        assert came.body == (b"12345" if name in BODIES else b""), name
        own = [line for line in head.split(b"\r\n") if line.startswith(b"X:")]
        assert [line for line in came.head.split(b"\r\n") if line.startswith(b"X:")] == own, name
    assert {one.field(b"authorization") for one in upstream.requests} == {b"Bearer t0ken"}


async def test_an_answer_outside_the_grammar_is_502_and_no_part_of_it_is_passed_on(program, upstream, fetch):
    """Rows 26 and 54."""
    wrong = {}
    for name, head in MALFORMED_ANSWERS.items():
        upstream.script(head + b"s3cret", CLOSE)
        status, fields, body = await fetch(program.url + "/a")
        if status != 502 or "http_protocol_error" not in fields["Proxy-Status"] or b"s3cret" in body:
            wrong[name] = (status, fields, body)
    assert wrong == {}
    assert (await fetch(program.url + "/a"))[0] == 200


async def test_a_well_formed_answer_comes_as_it_was_said(program, upstream):
    """Rows 20 and 21."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    for name, head in ACCEPTED_ANSWERS.items():
        body = BODIES.get(name, b"")
        final = b"HTTP/1.1 204 No Content\r\n\r\n" if name == "an informational one" else b""
        upstream.script(head + body + final, CLOSE)
        client = Client(*await asyncio.open_connection(host, int(port)))
        await client.send(get(b"GET /a HTTP/1.1", b"Connection: close"))
        said = await client.ended()
        client.writer.close()
        mended = re.sub(rb"[ \t]+:", b":", re.sub(rb"\AHTTP/1\.[0-9]", b"HTTP/1.1", head))
        lines = mended.split(b"\r\n\r\n")[0].split(b"\r\n")
        assert said.split(b"\r\n")[0].rstrip(b" ") == lines[0].rstrip(b" "), name
        for line in lines[1:]:
            assert line.lower() in said.lower(), name
        if body:
            assert said.endswith(body), name
