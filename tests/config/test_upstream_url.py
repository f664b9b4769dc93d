from __future__ import annotations

import pytest

from proxy.config.address import parse_address
from proxy.config.upstream_url import parse_upstream


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://api.example", ("https", "api.example", 443, "", None)),
        ("https://api.example/v2/", ("https", "api.example", 443, "/v2", None)),
        ("http://my_service:8080/a", ("http", "my_service", 8080, "/a", None)),
        ("http://_a_.b_c", ("http", "_a_.b_c", 80, "", None)),
        ("http://[::1]:81/a", ("http", "::1", 81, "/a", None)),
        ("unix:/run/app.sock", ("http", "localhost", 80, "", "/run/app.sock")),
        ("unix:///run/app.sock", ("http", "localhost", 80, "", "///run/app.sock")),
        ("unix:/run/app.sock:/", ("http", "localhost", 80, "", "/run/app.sock")),
        ("unix:/run/app.sock:/v1/x", ("http", "localhost", 80, "/v1/x", "/run/app.sock")),
        ("unix:/run/a:b.sock:/v1", ("http", "localhost", 80, "/v1", "/run/a:b.sock")),
        ("unix:/run/a b%2F.sock", ("http", "localhost", 80, "", "/run/a b%2F.sock")),
        ("http+unix://%2Frun%2Fapp.sock", ("http", "localhost", 80, "", "/run/app.sock")),
        ("http+unix://%2frun%2fapp.sock/v1/", ("http", "localhost", 80, "/v1", "/run/app.sock")),
        ("HTTP+UNIX://%2Frun%2Fa%3Ab%C3%A9/", ("http", "localhost", 80, "", "/run/a:bé")),
    ],
)
def test_every_spelling_of_a_place(text, read):
    assert tuple(parse_upstream(text)) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("unix:", "needs a path"),
        ("unix:/run/app.sock:", "is written"),
        ("unix:/run/app.sock:/v1?x", "no query"),
        ("unix:/run/app.sock:/v 1", "no blanks"),
        ("unix:/" + "a" * 103, "at most 103"),
        ("http+unix:///run/app.sock", "percent-encoded"),
        ("http+unix://", "percent-encoded"),
        ("http+unix://run%2Fapp.sock", "begins with %2F"),
        ("http+unix://%2Frun%00", "NUL"),
        ("http+unix://%2Frun%FF", "UTF-8"),
        ("http+unix://%2Frun?x", "no query"),
        ("http+unix://%2Frun/#x", "no fragment"),
        ("http://unix:/run/app.sock", "is written unix:/run/app.sock"),
        ("https://unix:/run/app.sock", "is written unix:/run/app.sock"),
        ("https+unix://%2Frun%2Fapp.sock", "is written unix:/run/app.sock"),
        ("unix+http:///run/app.sock", "is written unix:/run/app.sock"),
        ("https://bücher.example/x", "xn--bcher-kva.example"),
        ("https://straße.example", "written in ASCII here: xn--…"),
        ("https://api.example/ü", "percent-encode"),
        ("/run/app.sock", "https://"),
    ],
)
def test_what_leads_nowhere_says_how_it_is_written(text, said):
    with pytest.raises(ValueError, match=r"\w") as error:
        parse_upstream(text)
    assert said in str(error.value)


def test_a_socket_is_known_under_all_its_names(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    (tmp_path / "run" / "a.sock").touch()
    (tmp_path / "run" / "b.sock").symlink_to("a.sock")
    ours = parse_address(f"unix:{tmp_path}/run/a.sock")
    quoted = str(tmp_path).replace("/", "%2F")
    for name in (
        f"unix:{tmp_path}/run/a.sock",
        f"unix://{tmp_path}/run/a.sock",
        f"unix:{tmp_path}/link/./a.sock:/v1",
        f"unix:{tmp_path}/run/../link/b.sock",
        f"http+unix://{quoted}%2Flink%2F%2Fa.sock/v1",
    ):
        assert parse_upstream(name).leads_to(ours), name
    for name in (f"unix:{tmp_path}/run/c.sock", "http://localhost", "https://api.example"):
        assert not parse_upstream(name).leads_to(ours), name
    assert not parse_upstream(f"unix:{tmp_path}/run/a.sock").leads_to(parse_address("127.0.0.1:80"))


def test_what_goes_to_a_socket_stays_on_this_machine():
    assert parse_upstream("unix:/run/app.sock").loopback
    assert parse_upstream("http://127.0.0.1:1").loopback
    assert not parse_upstream("http://my_service").loopback
