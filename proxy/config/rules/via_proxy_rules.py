"""Rules of egress proxies: their URL, user name and password, and the hosts that bypass them."""

from __future__ import annotations

import re

from proxy.config.address import parse_url
from proxy.config.no_proxy import NoProxy, parse_entry
from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.schema import Config, DiscoveredUpstream, Route, ViaProxy
from proxy.config.tree import every
from proxy.config.upstream_url import UpstreamUrl

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_HINT = "scheme, host and port: http://egress:3128"


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for found in every(config):
        if isinstance(found.value, ViaProxy):
            _proxy(found.value, found.path, context)


def _proxy(via: ViaProxy, path: KeyPath, context: ParseContext) -> None:
    _url(via.url, (*path, "url"), context)
    if via.username is None and via.password is not None:
        needs: list[KeyPath] = [(*path, "username")]
        context.refuse((*path, "password"), "`password` needs `username` next to it", needs=needs)
    if via.username is not None and (":" in via.username or _CONTROLS.search(via.username)):
        context.refuse((*path, "username"), "a user name has no colon and no control characters (RFC 7617)")
    for index, entry in enumerate(via.no_proxy):
        try:
            parse_entry(entry)
        except ValueError as error:
            context.refuse((*path, "no_proxy", index), str(error))


def _url(text: str, path: KeyPath, context: ParseContext) -> None:
    if "@" in text.partition("//")[2].partition("/")[0]:
        hint = "via_proxy: {url: http://egress:3128, username: …, password: {env: …}}"
        context.refuse(path, "a URL holds no user name or password here", hint)
        return
    scheme, separator, _ = text.partition("://")
    if separator and scheme.lower() != "http":
        why = "`via_proxy` speaks http:// to the proxy: what is https goes through it encrypted all the same"
        context.refuse(path, why, _HINT)
        return
    try:
        parsed = parse_url(text)
    except ValueError as error:
        context.refuse(path, str(error) if separator else "the URL of a proxy starts with http://", _HINT)
        return
    if parsed.path not in ("", "/"):
        context.refuse(path, "a proxy has no path", _HINT)


def judge_route(route: Route, url: UpstreamUrl | None, written: set[str], path: KeyPath, context: ParseContext) -> None:
    """What an http:// upstream behind a proxy cannot have: the proxy reads its requests (RFC 9112 §3.2.2).

    `url`: None where it is looked up; `written`: the fields, in lower case, that the credential writes.
    """
    via = route.via_proxy
    if via is None or not _forwarded(route, url, via):
        return
    needs: list[KeyPath] = [(*path, key) for key in ("via_proxy", "upstream", "credential")]
    if url is not None and url.socket is not None:
        context.refuse((*path, "via_proxy"), "a unix socket is on this machine: no proxy leads there", needs=needs)
        return
    if route.host is not None:
        message = "a proxy goes by the URL of an http:// upstream, and replaces the Host that it is sent"
        context.refuse((*path, "host"), message, "leave `host` out, or name the upstream in no_proxy", needs=needs)
    if "proxy-authorization" in written:
        message = f"the credential `{route.credential}` writes Proxy-Authorization, which the proxy takes for its own"
        context.refuse((*path, "credential"), message, "use https:// in `upstream`", needs=needs)


def _forwarded(route: Route, url: UpstreamUrl | None, via: ViaProxy) -> bool:
    """Whether the proxy gets the requests themselves: for http://. For https:// it only opens a tunnel (CONNECT)."""
    if url is None:
        return isinstance(route.upstream, DiscoveredUpstream) and route.upstream.named.scheme == "http"
    try:
        return url.scheme == "http" and (url.socket is not None or not NoProxy(via.no_proxy).covers(url.host, url.port))
    except ValueError:
        return False
