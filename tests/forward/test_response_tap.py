from __future__ import annotations

import pytest

from proxy.forward.response_tap import MAX_OBSERVED, ResponseTap, readable
from proxy.model import Request

REQUEST = Request(b"POST", "https", b"api.example", b"/v3/directline/tokens/generate")


class Pupil:
    """Notes what it is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, bytes]] = []

    def wants_answer(self, request: Request) -> bool:
        return request is REQUEST

    def learn(self, request: Request, status: int, body: bytes) -> None:
        assert request is REQUEST
        self.shown.append((status, body))


def test_an_answer_is_shown_once_it_is_whole():
    pupil = Pupil()
    tap = ResponseTap(pupil, REQUEST)
    tap.add(200, [b"a", b"b"], done=False)
    tap.add(200, [], done=False)
    assert pupil.shown == []
    tap.add(200, [b"c"], done=True)
    tap.add(200, [], done=True)
    assert pupil.shown == [(200, b"abc")]


def test_an_answer_without_a_body_is_shown_too():
    pupil = Pupil()
    ResponseTap(pupil, REQUEST).add(403, [], done=True)
    assert pupil.shown == [(403, b"")]


@pytest.mark.parametrize(("size", "shown"), [(MAX_OBSERVED, 1), (MAX_OBSERVED + 1, 0)])
def test_only_so_much_is_kept_of_an_answer(size, shown):
    pupil = Pupil()
    tap = ResponseTap(pupil, REQUEST)
    tap.add(200, [bytes(size)], done=False)
    tap.add(200, [], done=True)
    assert len(pupil.shown) == shown


def test_an_answer_that_breaks_off_teaches_nothing():
    pupil = Pupil()
    ResponseTap(pupil, REQUEST).add(200, [b"half"], done=False)
    assert pupil.shown == []


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (b"gzip, deflate, br", b"gzip"), (b"br;q=1.0, GZIP;q=0.5", b"gzip"), (b"x-gzip", b"gzip"), (b"*", b"identity"),
        (b"br", b"identity"), (b"", b"identity"), (b"gzip;q=0, br", b"identity"), (b"br, gzip ; q=0.000", b"identity"),
        (b"gzip;q=0.001", b"gzip"),
    ],
)  # fmt: skip
def test_the_app_is_made_to_ask_only_for_what_we_can_read(wanted, asked):
    section = b"\r\nHost: x\r\naccept-encoding: " + wanted + b"\r\nX-Accept-Encoding: br\r\n"
    assert readable(section) == b"\r\nHost: x\r\naccept-encoding: " + asked + b"\r\nX-Accept-Encoding: br\r\n"


def test_an_app_that_asks_for_no_coding_goes_on_doing_so():
    assert readable(b"\r\nHost: x\r\n") == b"\r\nHost: x\r\n"


def test_a_mistake_of_the_pupil_is_not_the_apps_concern(caplog):
    class Failing(Pupil):
        def learn(self, request: Request, status: int, body: bytes) -> None:  # noqa: ARG002 - the interface
            raise KeyError(body)

    tap = ResponseTap(Failing(), REQUEST)
    tap.add(200, [b"s3cret"], done=True)
    tap.add(200, [b"more"], done=True)
    assert "internal error while learning from an answer, please report: KeyError" in caplog.text
    assert "s3cret" not in caplog.text
