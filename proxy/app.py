"""The program: one configuration at a time, put together, started, exchanged while it runs, and brought to an end.

start    store, tokens, admin listeners, proxy listeners: whoever asks early is told the truth by /readyz
reload   all or nothing: a new world is built beside the old one, and takes its place only when it is whole
run      until `quit`: delay, stop accepting, drain, close
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from proxy import __version__
from proxy.admin.app import Applications
from proxy.admin.view import Entry
from proxy.assembly.listeners import AdminListeners, open_listeners
from proxy.assembly.watch import FileWatch
from proxy.assembly.world import World, Workshop
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.load import Loaded, load
from proxy.errors import ConfigurationError
from proxy.forward.front import Front
from proxy.stats import RouteStats

_WATCH_EVERY = 1.0
"""Seconds between two looks at the configuration's file."""

_log = logging.getLogger("auth_sidecar.app")


class App:
    """Implements `admin.view.Program`. Must be made and used within a running event loop."""

    def __init__(self, path: Path, loaded: Loaded, environ: Mapping[str, str], clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.version = __version__
        self.draining = False
        self.reloaded = True
        self._environ = environ
        self._started = clock.elapsed()
        self._workshop = Workshop(loaded, environ, clock)
        self._world = self._workshop.build(loaded, None)
        self._workshop.use(self._world)
        self._front = Front(self._world.site, clock, self._world.pools, access=loaded.config.log.access)
        self._applications = Applications(self)
        self._admin = AdminListeners(self._applications)
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve. Raises OSError where a listener cannot be opened, ConfigurationError; nothing runs on then."""
        config = self._world.loaded.config
        try:
            await self._workshop.start()
            await self._world.start(None)
            await self._admin.open(config)
            await open_listeners(self._front, config)
        except BaseException:
            await self._close()
            raise
        self._spawn(self._follow_file())
        # What was made until now lives as long as the program: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        places = ", ".join(listen.address for listen in config.listen)
        _log.info("auth-sidecar %s serves %d routes on %s", __version__, len(self._world.lanes), places)

    async def run(self) -> None:
        """Serve until `quit`, then drain and close."""
        await self._stopping.wait()
        shutdown = self._world.loaded.config.shutdown
        self.draining = True
        _log.info(
            "stopping: no new connections in %g s, then up to %g s for requests in flight",
            shutdown.delay,
            shutdown.drain,
        )
        if shutdown.delay:
            await self.clock.sleep(shutdown.delay)
        if not await self._front.drain(shutdown.drain):
            _log.warning("%d requests in flight were cut off", self._front.in_flight)
        await self._close()

    def quit(self) -> None:
        """Begin to stop. Twice is fine."""
        self._stopping.set()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._front.close()
        await self._admin.close()
        await self._world.stop(None)
        await self._workshop.close()

    # ---- reload --------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the file anew and run on it. Raises ConfigurationError, and then everything is as before."""
        async with self._reloading:
            try:
                loaded = load(self.path, self._environ)
                refuse_fixed(self._world.loaded.config, loaded.config)
                world = self._workshop.build(loaded, self._world)
            except ConfigurationError as error:
                self.reloaded = False
                _log.error("the configuration was not reloaded, the last good one stays:\n%s", error)
                raise
            old, self._world = self._world, world
            self._workshop.use(world)
            await world.start(old)
            self._front.access = loaded.config.log.access
            self._front.swap(world.site, world.pools)
            await old.stop(world)
            self.reloaded = True
            _log.info("the configuration was reloaded: %d routes", len(world.lanes))

    def reload_soon(self) -> None:
        """For signal handlers: a reload whose failure is only logged."""
        self._spawn(self._reload_quietly())

    async def _reload_quietly(self) -> None:
        try:
            await self.reload()
        except ConfigurationError:
            return  # told by `reload`

    async def _follow_file(self) -> None:
        watch = FileWatch(self.path)
        while True:
            await self.clock.sleep(_WATCH_EVERY)
            if watch.changed():
                await self._reload_quietly()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- what the admin side sees --------------------------------------------------------------------------------------

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return self.clock.elapsed() - self._started

    @property
    def credentials(self) -> Mapping[str, Entry]:
        """All credentials by name."""
        return self._world.entries

    @property
    def routes(self) -> Mapping[str, RouteStats]:
        """All routes by name."""
        return self._world.stats

    @property
    def allowed_hosts(self) -> Collection[str]:
        """The names that the admin listener answers to."""
        return self._world.loaded.config.allowed_hosts

    @property
    def unix_uids(self) -> Collection[int]:
        """The users of this machine who may be handed tokens over a unix socket."""
        callers = self._world.loaded.config.callers
        return callers.unix_uids if isinstance(callers, schema.Callers) else ()

    def bearer(self) -> str | None:
        """The admin bearer as it is now."""
        return self._world.admin_bearer() if self._world.admin_bearer is not None else None

    def store(self) -> Mapping[str, Any]:
        """Where tokens outlive the process."""
        store = self._workshop.store
        return {"type": store.type, "errors": store.errors, "last_error": store.last_error}

    def config_shown(self) -> Any:
        """The effective configuration, redacted."""
        return self._world.loaded.shown


def refuse_fixed(old: schema.Config, new: schema.Config) -> None:
    """Raises ConfigurationError for changes that need a restart: half of a new listener would be worse than none."""
    fixed = {
        "listen": (old.listen, new.listen),
        "reuse_port": (old.reuse_port, new.reuse_port),
        "admin.listen": (old.admin.listen, new.admin.listen),
        "health": (old.health, new.health),
        "update": (old.update, new.update),
        "store": (old.store, new.store),
    }
    changed = [name for name, (before, after) in fixed.items() if before != after]
    if changed:
        raise ConfigurationError(f"changed while running: {', '.join(changed)}; restart auth-sidecar to apply it")
