"""The program: one configuration at a time, put together, started, exchanged while it runs, and brought to an end.

start    the listeners are tried, then store and tokens begin, then the listeners open: /readyz says when it is time
reload   all or nothing: a new world is built and begun beside the old one, and takes its place only when it is whole
run      until `quit`: delay, stop accepting, drain, close
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from proxy import __version__
from proxy.admin.app import Applications
from proxy.admin.view import Discovered, Entry
from proxy.assembly.faults import UnusableError
from proxy.assembly.fixed import refuse_fixed, refuse_pipe
from proxy.assembly.listeners import Listeners
from proxy.assembly.watch import FileWatch
from proxy.assembly.workshop import Workshop
from proxy.assembly.world import World
from proxy.background import Background
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.load import Loaded, load, located
from proxy.config.report import render
from proxy.defects import tell
from proxy.errors import ConfigurationError
from proxy.forward.front import Front
from proxy.forward.memory import give_back
from proxy.stats import RouteStats

_WATCH_EVERY = 1.0
"""Seconds between two looks at the configuration's file."""
_RETIRE_EVERY = 0.1
_RETIRED_AFTER = 120.0
"""Seconds for which a credential that was removed waits for the requests that began with it."""
_COLLECTED_AFTER = 700, 10, 30
"""When the collector looks at young, older and all objects. The last stops every request for some 15 ms while hundreds
of renewals are under way, and would come with each 70,000 objects more, not 210,000. No later: each of asyncio's
connections leaves a cycle of a few KiB behind."""

_log = logging.getLogger("auth_sidecar.app")
T = TypeVar("T")


class App:
    """Implements `admin.view.Program`. Must be made and used within a running event loop.

    `on_log`: told what the configuration says of the log whenever it was read anew. `watch`: begun before the file was
    read, so that no change is missed. Raises ConfigurationError for what only shows when objects are made: keys,
    certificates, callables.
    """

    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        environ: Mapping[str, str],
        clock: Clock,
        *,
        on_log: Callable[[schema.Log], None] | None = None,
        watch: FileWatch | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.version = __version__
        self.draining = False
        self.reloaded = True
        self._environ = environ
        self._on_log = on_log
        self._started = clock.elapsed()
        self._watch = watch or FileWatch(path)
        self._workshop = Workshop(loaded, environ, clock, self._lead)
        self._world = self._workshop.build(loaded, None)
        self._workshop.use(self._world)
        self._front = Front(self._world.site, clock, self._world.pools, access=loaded.config.log.access)
        self._listeners = Listeners(loaded.config, self._front, Applications(self))
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._signalled = False
        self._changing = asyncio.Lock()
        self._background = Background()

    # ---- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve.

        Raises OSError, its `strerror` a sentence, where a listener cannot be opened; ConfigurationError. Nothing runs
        on then.
        """
        async with self._changing:
            try:
                self._listeners.rehearse()
                await self._workshop.start()
                # What was made until now lives as long as the program: the collector need not look at it again. Not
                # later: what the first token requests leave behind must be collected.
                gc.collect()
                gc.freeze()
                gc.set_threshold(*_COLLECTED_AFTER)
                give_back()
                await self._world.start(None)
                await self._listeners.open(self._world.loaded.config)
            except BaseException:
                await self._close()
                raise
        self._background.spawn(self._follow_file())
        places = ", ".join(listen.address for listen in self._world.loaded.config.listen)
        _log.info("auth-sidecar %s serves on %s; routes: %s", __version__, places, ", ".join(self._world.lanes))

    async def run(self) -> None:
        """Serve until `quit`, then drain and close."""
        await self._stopping.wait()
        shutdown = self._world.loaded.config.shutdown
        self.draining = True
        _log.info("stopping: after %g s no new connections, then up to %g s to drain", shutdown.delay, shutdown.drain)
        if shutdown.delay:
            await self._unless_at_once(self.clock.sleep(shutdown.delay))
        if not await self._unless_at_once(self._front.drain(shutdown.drain)):
            _log.warning("%d requests in flight were cut off", self._front.in_flight)
        async with self._changing:
            await self._close()
        _log.info("stopped")

    def quit(self) -> None:
        """Begin to stop. Twice is fine."""
        self._stopping.set()

    def quit_by_signal(self) -> None:
        """Begin to stop; whoever signals again does not want to wait."""
        if self._signalled:
            self._at_once.set()
        self._signalled = True
        self.quit()

    async def _unless_at_once(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`; None where it was cut short."""
        task = asyncio.ensure_future(work)
        hurry = asyncio.create_task(self._at_once.wait())
        try:
            await asyncio.wait((task, hurry), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            hurry.cancel()
            await asyncio.gather(task, hurry, return_exceptions=True)

    async def _close(self) -> None:
        async with AsyncExitStack() as stack:  # from the last to the first, whatever one of them raises
            stack.push_async_callback(self._workshop.close)
            stack.push_async_callback(self._world.stop, None)
            stack.push_async_callback(self._listeners.close)
            stack.push_async_callback(self._front.close)
            stack.push_async_callback(self._background.close)

    # ---- reload ------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the file anew and run on it. Raises ConfigurationError, and then everything is as before."""
        async with self._changing:
            if self._stopping.is_set():
                raise ConfigurationError("auth-sidecar is stopping")
            self._watch.changed()  # whatever stands there now is what is read here: no second reload for it
            old = self._world
            try:
                refuse_pipe(self.path)
                loaded = await asyncio.to_thread(load, self.path, self._environ)  # requests go on meanwhile
                refuse_fixed(old.loaded.config, loaded.config)
                self._listeners.certificates()
                world = self._workshop.build(loaded, old)
                await self._begin(world)
            except ConfigurationError as fault:
                self.reloaded = False
                if not self.path.exists():  # once it is back it is good again, even if it is what it was
                    self._watch.forget()
                error = located(self.path, self._environ, fault.faults) if isinstance(fault, UnusableError) else fault
                _log.error("the configuration was not reloaded, the last good one stays:\n%s", error)
                raise error from None
            except Exception as error:  # noqa: BLE001 - a defect of ours must not end the program
                self.reloaded = False
                _log.error("not reloaded: internal error, please report: %s", type(error).__name__)
                raise ConfigurationError(f"internal error, please report: {type(error).__name__}") from None
            self._world = world
            self._listeners.renew_certificates()
            self._listeners.admit(loaded.config)
            self._front.access = loaded.config.log.access
            self._lead()
            self._background.spawn(self._retire(old, world))
            self.reloaded = True
            if self._on_log is not None:
                self._on_log(loaded.config.log)
            if loaded.warnings and loaded.warnings != old.loaded.warnings:
                _log.warning("the configuration may not be what you mean:\n%s", render(loaded.warnings))
            _log.info("the configuration was reloaded: %d routes", len(world.lanes))

    def _lead(self) -> None:
        """Requests that come from now on are this world's, and go where its signposts point by now."""
        self._world.follow()
        self._front.swap(self._world.site, self._world.pools)

    async def _begin(self, world: World) -> None:
        """Start the credentials of a world that is not in use yet."""
        old = self._world
        self._workshop.use(world)
        try:
            await world.start(old)
        except BaseException:
            self._workshop.use(old)
            await world.stop(old)
            raise

    async def _retire(self, old: World, new: World) -> None:
        """Stop the credentials that are gone, once no request that began with them waits for an answer."""
        gone = old.lives() - new.lives()
        until = self.clock.elapsed() + _RETIRED_AFTER
        try:
            while self._serves(gone) and self.clock.elapsed() < until:
                await self.clock.sleep(_RETIRE_EVERY)
        finally:
            await old.stop(new)

    def _serves(self, lives: Collection[int]) -> bool:
        found = (connection.exchange for connection in self._front.connections)
        return any(exchange and not exchange.relaying and id(exchange.lane.credential) in lives for exchange in found)

    def reload_soon(self) -> None:
        """For signal handlers: a reload whose failure is only logged."""
        self._background.spawn(self._reload_quietly())

    async def _reload_quietly(self) -> None:
        with suppress(ConfigurationError):  # told by `reload`
            await self.reload()

    async def _follow_file(self) -> None:
        while True:
            await self.clock.sleep(_WATCH_EVERY)
            try:
                if self._watch.changed():
                    await self._reload_quietly()
            except Exception as error:  # noqa: BLE001 - the next change is followed all the same
                tell(_log, "while the configuration was followed", error)

    # ---- what the admin side sees ------------------------------------------------------------------------------------

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
    def discovered(self) -> Mapping[str, Discovered]:
        """The routes, by name, whose upstream is looked up."""
        return self._world.discovered(self.clock.elapsed())

    @property
    def allowed_hosts(self) -> Collection[str]:
        """The names that the admin listener answers to."""
        return self._world.loaded.config.allowed_hosts

    @property
    def limits(self) -> schema.Limits:
        """How long callers may take."""
        return self._world.loaded.config.limits

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
