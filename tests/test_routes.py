"""Which route a request has."""

from __future__ import annotations

import pytest

from proxy.errors import NoRoute, RouteMethodRefused
from proxy.routes import RouteEntry, Routes


def table(*entries: tuple[bytes, bytes | None, set[bytes] | None, str]) -> Routes[str]:
    return Routes(
        RouteEntry(prefix, (host, None) if host else None, frozenset(methods) if methods else None, name)
        for prefix, host, methods, name in entries
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/crm", "crm"),
        (b"/crm/", "crm"),
        (b"/crm/x", "crm"),
        (b"/crm//x", "crm"),
        (b"/crm/admin", "admin"),
        (b"/crm/admin/x", "admin"),
        (b"/crm/administrator", "crm"),
        (b"/crmx", "root"),
        (b"/CRM", "root"),
        (b"/%63rm", "root"),
        (b"/crm%2Fx", "root"),
        (b"/", "root"),
        (b"//crm", "root"),
    ],
)
def test_the_longest_prefix_wins_in_whole_segments_as_sent(path, found):
    routes = table((b"", None, None, "root"), (b"/crm", None, None, "crm"), (b"/crm/admin", None, None, "admin"))
    assert routes.find(path, b"localhost", b"GET") == found


def test_a_route_that_names_the_host_comes_before_one_that_does_not():
    routes = table((b"/a", None, None, "any"), (b"/a", b"one.example", None, "one"))
    assert routes.find(b"/a", b"One.Example:8080", b"GET") == "one"
    assert routes.find(b"/a", b"two.example", b"GET") == "any"
    assert routes.find(b"/a", None, b"GET") == "any"


def test_a_port_counts_where_the_route_names_one():
    routes = Routes([RouteEntry(b"", (b"one.example", 8080), None, "one")])
    assert routes.find(b"/", b"one.example:8080", b"GET") == "one"
    with pytest.raises(NoRoute):
        routes.find(b"/", b"one.example", b"GET")


def test_a_route_that_names_methods_comes_before_one_that_takes_any():
    routes = table((b"/a", None, None, "any"), (b"/a", None, {b"GET"}, "get"))
    assert routes.find(b"/a", None, b"GET") == "get"
    assert routes.find(b"/a", None, b"POST") == "any"


def test_a_host_that_does_not_match_leaves_the_request_to_a_shorter_prefix_and_a_method_never_does():
    routes = table((b"", None, None, "root"), (b"/a", b"one.example", None, "a"), (b"/b", None, {b"GET", b"PUT"}, "b"))
    assert routes.find(b"/a", b"two.example", b"GET") == "root"
    with pytest.raises(RouteMethodRefused) as refused:
        routes.find(b"/b/x", b"two.example", b"DELETE")
    assert refused.value.headers == (("Allow", "GET, HEAD, PUT"),)


def test_methods_of_several_routes_are_allowed_together():
    routes = table((b"/a", None, {b"GET"}, "get"), (b"/a", None, {b"PUT"}, "put"))
    with pytest.raises(RouteMethodRefused) as refused:
        routes.find(b"/a", None, b"get")
    assert refused.value.headers == (("Allow", "GET, HEAD, PUT"),)


def test_a_route_that_takes_get_takes_head_too():
    routes = table((b"/a", None, {b"GET"}, "get"), (b"/a", None, None, "any"), (b"/p", None, {b"POST"}, "post"))
    assert routes.find(b"/a", None, b"HEAD") == "get"
    assert routes.find(b"/a/x", b"a.example", b"HEAD") == "get"
    assert routes.find(b"/a", None, b"head") == "any"
    with pytest.raises(RouteMethodRefused) as refused:
        routes.find(b"/p", None, b"HEAD")
    assert refused.value.headers == (("Allow", "POST"),)


@pytest.mark.parametrize("order", [1, -1])
def test_head_goes_to_the_route_that_names_it_if_one_does(order):
    pair = [(b"/a", None, {b"GET"}, "get"), (b"/a", None, {b"HEAD", b"PUT"}, "head")]
    routes = table(*pair[::order])
    assert routes.find(b"/a", None, b"HEAD") == "head"
    assert routes.find(b"/a", None, b"GET") == "get"
    host = table((b"/a", b"one.example", {b"GET"}, "one"), (b"/a", None, {b"HEAD"}, "head"))
    assert host.find(b"/a", b"one.example", b"HEAD") == "one"
    assert host.find(b"/a", None, b"HEAD") == "head"


def test_all_routes_of_one_place_are_told():
    routes = table(
        (b"", None, None, "root"),
        (b"/a", None, {b"GET"}, "get"),
        (b"/a", None, {b"PUT"}, "put"),
        (b"/a", b"one.example", None, "one"),
        (b"/a/b", b"two.example", None, "two"),
    )
    assert routes.at(b"/a/b", None) == ["get", "put"]
    assert routes.at(b"/a/b", b"two.example") == ["two"]
    assert routes.at(b"/a", b"one.example") == ["one", "get", "put"]
    assert routes.at(b"/ab", None) == ["root"]
    assert table((b"/a", None, None, "a")).at(b"/", None) == []
    assert routes.get(b"/a", None, b"PUT") == "put"
    assert routes.get(b"/a", None, b"DELETE") is None


def test_without_a_route_there_is_none():
    with pytest.raises(NoRoute):
        table((b"/a", None, None, "a")).find(b"/", None, b"GET")
    with pytest.raises(NoRoute):
        table().find(b"/", None, b"GET")
