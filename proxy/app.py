"""The program: one configuration at a time, put together, started, exchanged while it runs, and brought to an end.

start    the listeners are tried, then store and tokens begin, then the listeners open: /readyz says when it is time
reload   all or nothing: a new runtime is built and begun beside the old one, and takes its place only when it is whole
run      until `quit`: delay, stop accepting, drain, close
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from proxy import __version__
from proxy.admin.applications import Applications
from proxy.assembly.file_watch import FileWatch
from proxy.assembly.fixed_settings import refuse_fixed, refuse_pipe
from proxy.assembly.listeners import Listeners
from proxy.assembly.runtime import Runtime
from proxy.assembly.runtime_builder import RuntimeBuilder
from proxy.assembly.unusable import UnusableError
from proxy.background import Background, unless
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.load import Loaded, load, located
from proxy.config.report import render
from proxy.defects import tell
from proxy.errors import ConfigurationError
from proxy.forward.downstream import Downstream
from proxy.forward.exchange import Phase
from proxy.forward.malloc_tuning import settle
from proxy.forward.proxy_server import ProxyServer
from proxy.service_manager import ServiceManager

_WATCH_EVERY = 1.0
"""Seconds between two looks at the configuration's file."""
_RETIRE_EVERY = 0.1
_CLOSING = 0.05
"""The part of `shutdown.drain` that is left for what comes behind the requests."""
_ENDING = 5.0
"""Seconds on top, for a service manager: what a process needs to end after all that."""
_SERVING = "serving"
_REFUSED = "serving; the last reload was refused, and the log says why"
_RETIRED_AFTER = 120.0
"""Seconds for which a credential that was removed waits for the requests that began with it."""

_log = logging.getLogger("auth_sidecar.app")


class App:
    """Implements `admin.view.Program`. Must be made and used within a running event loop.

    `on_log`: told what the configuration says of the log whenever it was read anew. `watch`: begun before the file was
    read, so that no change is missed. `manager`: told of our life. Raises ConfigurationError for what only shows as
    keys and the like are made.
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
        manager: ServiceManager | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.version = __version__
        self.draining = False
        self.reloaded = True
        self._environ = environ
        self._on_log = on_log
        self.started = clock.elapsed()
        self._watch = watch or FileWatch(path)
        self._manager = manager or ServiceManager()
        self._builder = RuntimeBuilder(loaded, environ, clock, self._lead)
        self.store = self._builder.store
        self.runtime = self._builder.build(loaded, None)
        self._builder.use(self.runtime)
        self._front = ProxyServer(self.runtime.site, clock, self.runtime.pools, access=loaded.config.log.access)
        self._listeners = Listeners(loaded.config, self._front, Applications(self))
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._signalled = False
        self._changing = asyncio.Lock()
        self._background = Background()
        self._until: float | None = None

    # ---- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to serve.

        Raises OSError, its `strerror` a sentence, where a listener cannot be opened; ConfigurationError. Nothing runs
        on then. Cut short where the program is told to stop before.
        """
        async with self._changing:
            try:
                self._listeners.rehearse()
                await self._builder.start()
                settle()
                if await unless(self._stopping, self._begun()) is None:
                    return
            except BaseException:
                await self._close()
                raise
        self._background.spawn(self._follow_file())
        if self._manager.watchdog is not None:
            self._background.spawn(self._stay_watched(self._manager.watchdog))
        self._manager.ready(_SERVING)
        places = ", ".join(listen.address for listen in self.runtime.loaded.config.listen)
        _log.info("auth-sidecar %s serves on %s; routes: %s", __version__, places, ", ".join(self.runtime.live_routes))

    async def _begun(self) -> bool:
        await self.runtime.start(None)
        await self._listeners.open(self.runtime.loaded.config)
        return True

    async def run(self) -> None:
        """Serve until `quit`, then drain and close."""
        await self._stopping.wait()
        shutdown = self.runtime.loaded.config.shutdown
        self.draining = True
        self._manager.stopping(shutdown.delay + shutdown.drain + _ENDING)
        _log.info("stopping: after %g s no new connections, then up to %g s to drain", shutdown.delay, shutdown.drain)
        if shutdown.delay:
            await unless(self._at_once, self.clock.sleep(shutdown.delay))
        self._until = self.clock.elapsed() + shutdown.drain
        await self._builder.rest()
        if not await unless(self._at_once, self._front.drain(shutdown.drain * (1 - _CLOSING))):
            _log.warning("%d requests in flight were cut off", self._front.in_flight)
        if self._at_once.is_set():
            self._until = self.clock.elapsed()
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

    async def _close(self) -> None:
        async with AsyncExitStack() as stack:  # from the last to the first, whatever one of them raises
            stack.push_async_callback(self._builder.close)
            stack.push_async_callback(self._stop_both)
            stack.push_async_callback(self._background.close)
            stack.push_async_callback(self._front.close)

    async def _stop_both(self) -> None:
        """The admin side and the credentials, together: what waits there for a token is told that none will come."""
        await asyncio.gather(self._listeners.close(), self.runtime.stop(None, within=self._left()))

    def _left(self) -> float | None:
        """Seconds for what must still be waited for at the end; None while that is not near."""
        return None if self._until is None else max(0.0, self._until - self.clock.elapsed())

    # ---- reload ------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the file anew and run on it. Raises ConfigurationError, and then everything is as before."""
        async with self._changing:
            if self._stopping.is_set():
                raise ConfigurationError("auth-sidecar is stopping")
            self._manager.reloading()
            try:
                await self._reload()
            finally:
                if not self._stopping.is_set():  # else the last word is that we stop
                    self._manager.ready(_SERVING if self.reloaded else _REFUSED)

    async def _reload(self) -> None:
        self._watch.changed()  # whatever stands there now is what is read here: no second reload for it
        old = self.runtime
        try:
            runtime = await unless(self._stopping, self._prepared(old))
        except ConfigurationError as error:
            self.reloaded = False
            if not self.path.exists():  # once it is back it is good again, even if it is what it was
                self._watch.forget()
            told = located(self.path, self._environ, error.errors) if isinstance(error, UnusableError) else error
            _log.error("the configuration was not reloaded, the last good one stays:\n%s", told)
            raise told from None
        except Exception as error:  # noqa: BLE001 - a defect of ours must not end the program
            self.reloaded = False
            _log.error("not reloaded: internal error, please report: %s", type(error).__name__)
            raise ConfigurationError(f"internal error, please report: {type(error).__name__}") from None
        if runtime is None:
            raise ConfigurationError("auth-sidecar is stopping")
        self.runtime, loaded = runtime, runtime.loaded
        self._listeners.renew_certificates()
        self._listeners.admit(loaded.config)
        self._front.access = loaded.config.log.access
        self._lead()
        self._background.spawn(self._retire(old, runtime))
        self.reloaded = True
        if self._on_log is not None:
            self._on_log(loaded.config.log)
        if loaded.warnings and loaded.warnings != old.loaded.warnings:
            _log.warning("the configuration may not be what you mean:\n%s", render(loaded.warnings))
        _log.info("the configuration was reloaded: %d routes", len(runtime.live_routes))

    def _lead(self) -> None:
        """Requests that come from now on are this runtime's, and go where its upstreams are by now."""
        self.runtime.follow()
        self._front.swap(self.runtime.site, self.runtime.pools)

    async def _prepared(self, old: Runtime) -> Runtime:
        """What the file says now, made and begun. Raises ConfigurationError."""
        refuse_pipe(self.path)
        loaded = await asyncio.to_thread(load, self.path, self._environ)  # requests go on meanwhile
        refuse_fixed(old.loaded.config, loaded.config)
        self._listeners.certificates()
        runtime = self._builder.build(loaded, old)
        await self._begin(runtime)
        return runtime

    async def _begin(self, runtime: Runtime) -> None:
        """Start the credentials of a runtime that is not in use yet."""
        old = self.runtime
        self._builder.use(runtime)
        try:
            await runtime.start(old)
        except BaseException:
            self._builder.use(old)
            await runtime.stop(old, within=self._left())
            raise

    async def _retire(self, old: Runtime, new: Runtime) -> None:
        """Stop the credentials that are gone, once no request that began with them waits for an answer."""
        gone = old.lives() - new.lives()
        until = self.clock.elapsed() + _RETIRED_AFTER
        try:
            while self._serves(gone) and self.clock.elapsed() < until:
                await self.clock.sleep(_RETIRE_EVERY)
        finally:
            await old.stop(new, within=self._left())

    def _serves(self, lives: Collection[int]) -> bool:
        found = (one.exchange for one in self._front.connections if isinstance(one, Downstream))
        return any(
            exchange and exchange.phase is not Phase.RELAY and id(exchange.request.route.credential) in lives
            for exchange in found
        )

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

    async def _stay_watched(self, every: float) -> None:
        while True:
            self._manager.alive()
            await self.clock.sleep(every)
