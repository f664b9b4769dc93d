"""Rules of listeners: valid and distinct addresses; off loopback, callers must be authenticated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from proxy.config.address import Address, parse_address
from proxy.config.parse_context import KeyPath, ParseContext, spelled
from proxy.config.rules import checks
from proxy.config.schema import Callers, Config, MemoryStore, Size

_SMALLEST_HEAD = Size(1024)


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    taken: list[tuple[KeyPath, Address]] = []
    for path, text in listeners(config):
        try:
            address = parse_address(text)
        except ValueError as error:
            context.refuse(path, str(error))
            continue
        for other, occupied in taken:
            if address.meets(occupied):
                _collide(other, path, text, context)
                break
        taken.append((path, address))
    addresses = dict(taken)
    _shared(config, context, addresses)
    _callers(config, context, addresses)
    _admin_and_update(config, context, addresses)
    if not config.listen:
        context.refuse(("listen",), "`listen` is an empty list", "leave it out for 127.0.0.1:8080")
    for index, host in enumerate(config.allowed_hosts):
        checks.host(host, ("allowed_hosts", index), context, port=True)
    if config.limits.max_header_size < _SMALLEST_HEAD:
        context.refuse(("limits", "max_header_size"), "less than 1KiB holds no request head")


def listeners(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """The addresses of all listeners."""
    for index, listen in enumerate(config.listen):
        yield ("listen", index, "address"), listen.address
    if config.admin.listen is not None:
        yield ("admin", "listen"), config.admin.listen
    if config.health is not None:
        yield ("health", "listen"), config.health.listen
    if config.update is not None:
        yield ("update", "listen"), config.update.listen


def places(config: Config) -> list[tuple[KeyPath, Address]]:
    """The addresses of all listeners; invalid ones are left out."""
    found = []
    for path, text in listeners(config):
        with contextlib.suppress(ValueError):
            found.append((path, parse_address(text)))
    return found


def _shared(config: Config, context: ParseContext, addresses: dict[KeyPath, Address]) -> None:
    """What several processes with one configuration cannot share."""
    if not config.reuse_port:
        return
    if isinstance(config.store, MemoryStore) and config.credentials:
        message = "each process has tokens of its own, and renews them by itself"
        context.warn(("reuse_port",), message, "add store: {type: file, path: …} or {type: redis, url: …}")
    for path, address in addresses.items():
        if address.path is not None and "${" not in context.written.get(path, ""):
            message = "a unix socket belongs to one process: the next one that starts would not get it"
            hint = "give each its own: unix:${RUNTIME_DIRECTORY}/proxy.sock"
            context.warn(path, message, hint)


def _collide(first: KeyPath, second: KeyPath, text: str, context: ParseContext) -> None:
    """Reported at the second address; if that is a default, at the first."""
    here, there, hint = second, first, None
    if not _written(second, context):
        here, there, hint = first, second, f"{spelled(second)} is {text} unless the file says otherwise"
    context.refuse(here, f"this address is taken by {spelled(there)}", hint, needs=[there])


def _written(path: KeyPath, context: ParseContext) -> bool:
    """Whether the address is written in the file. An item of `listen` may be a plain string, without `address`."""
    return context.given(("listen",) if path[0] == "listen" else path)


def _callers(config: Config, context: ParseContext, addresses: dict[KeyPath, Address]) -> None:
    proxies = {path: address for path, address in addresses.items() if path[0] == "listen"}
    callers = config.callers
    if isinstance(callers, Callers):
        if callers.bearer is None and not callers.unix_uids:
            named: list[KeyPath] = [("callers", "bearer"), ("callers", "unix_uids")]
            hint = "give `bearer` or `unix_uids`, or write any"
            context.refuse(("callers",), "`callers` names nobody", hint, needs=named)
        asked = {path: address for path, address in addresses.items() if path[0] in ("listen", "admin")}
        if callers.unix_uids and callers.bearer is not None and all(one.path is None for one in asked.values()):
            context.warn(("callers", "unix_uids"), "`unix_uids` needs a unix socket in `listen` or `admin.listen`")
    unguarded = callers is None or (isinstance(callers, Callers) and callers.bearer is None)
    for path, address in proxies.items():
        if not unguarded or address.path is not None:
            continue
        needs: list[KeyPath] = [("callers",), ("callers", "bearer"), ("callers", "unix_uids")]
        if not address.loopback:
            hint = "say who may: callers: {bearer: {env: NAME}}, or on purpose callers: any"
            if not context.given(("allowed_hosts",)):
                hint += "; and by which names: allowed_hosts: [NAME, localhost, 127.0.0.1]"
            reason = "other machines can reach this listener and use your credentials"
            context.refuse(path, reason, hint, needs=needs)
        elif isinstance(callers, Callers) and callers.unix_uids:
            _cannot_ask(path, address, context, needs)


def _cannot_ask(path: KeyPath, address: Address, context: ParseContext, needs: list[KeyPath]) -> None:
    """Reported at the listener's address; if that is a default, at `unix_uids`."""
    message = f"`unix_uids` needs a unix socket: on {address.host}:{address.port} nobody is asked who they are"
    hint = "add callers.bearer: {env: NAME}, or listen on unix sockets alone, or on purpose callers: any"
    here: KeyPath = path if _written(path, context) else ("callers", "unix_uids")
    context.refuse(here, message, hint, needs=[*needs, path])


def _admin_and_update(config: Config, context: ParseContext, addresses: dict[KeyPath, Address]) -> None:
    admin = addresses.get(("admin", "listen"))
    if admin is not None and not admin.loopback and config.admin.bearer is None:
        hint = "add admin.bearer: {env: NAME}"
        context.refuse(
            ("admin", "listen"), "the admin listener needs a bearer off loopback", hint, needs=[("admin", "bearer")]
        )
    update = addresses.get(("update", "listen"))
    if config.update is None or update is None or update.path is not None:
        return
    if config.update.tls is None and not config.update.allow_insecure:
        needs = [("update", "tls"), ("update", "allow_insecure")]
        hint = "add tls: {cert_file:, key_file:}, or on purpose allow_insecure: true"
        context.refuse(("update", "listen"), "tokens would be pushed here without TLS", hint, needs=needs)
