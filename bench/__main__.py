"""Forwarding with a credential, beside others that do it: CPU per request, latency, memory. See README.md.

    python bench --modes small,idle --peers sidecar,nginx,envoy,naive --rounds 5 --seconds 3

All peers take turns in every round, so that a machine whose speed drifts treats them alike: compare within one run
only.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import chatter
import load
import renewals
import replicas
import surroundings
from machine import LOAD_CORE, PEER_CORE, Program, busy_seconds, describe, free_port, prepare
from modes import MODES, Mode
from peers import HERE, PEERS, Place
from report import table

IDLE_ROUNDS = 2
"""Memory does not drift: two rounds are enough."""


class Bench:
    """The surroundings, running; and one measurement of one peer in one mode."""

    def __init__(self, folder: Path, seconds: int, warm_up: int) -> None:
        self._folder = folder
        self._seconds = seconds
        self._warm_up = warm_up
        self._token = surroundings.make_token()
        self._upstream = free_port()
        self._upstream_tls = free_port()
        self._websockets = free_port()
        self._issuer = free_port()

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """The upstream and the token endpoint, up."""
        api = surroundings.upstream(self._room("upstream"), self._upstream, self._upstream_tls, self._token)
        endpoint: list[str | Path] = [
            sys.executable,
            HERE / "parts" / "token_endpoint.py",
            str(self._issuer),
            self._token,
        ]
        chat: list[str | Path] = [
            sys.executable,
            HERE / "websocket_upstream.py",
            str(self._websockets),
            self._token,
            str(MODES["wspush"].push),
        ]
        with (
            Program(api, self._upstream, LOAD_CORE, self._room("upstream")) as upstream,
            Program(endpoint, self._issuer, LOAD_CORE, self._room("issuer")) as issuer,
            Program(chat, self._websockets, LOAD_CORE, self._room("websockets")) as websockets,
        ):
            upstream.wait_until_ready("/small", {"Authorization": f"Bearer {self._token}"})
            issuer.wait_until_ready("", {})
            websockets.wait_until_ready("", {})
            yield

    def attempt(self, peer: str, mode: Mode) -> dict[str, object]:
        """One measurement, or why there is none: one peer's trouble does not cost the others' figures."""
        try:
            return self.measure(peer, mode)
        except (RuntimeError, OSError, subprocess.SubprocessError) as trouble:
            print(f"{mode.name} {peer}: {str(trouble).strip()[-400:]}", file=sys.stderr, flush=True)
            return {"errors": 1, "trouble": str(trouble)}

    def measure(self, peer: str, mode: Mode) -> dict[str, object]:
        """One measurement: a fresh process, a warm-up, the run."""
        if mode.credentials:
            around = renewals.Surroundings(self._room(peer), self._upstream, self._token)
            return asdict(renewals.storm(mode, around) if mode.storm else renewals.weigh(mode, around))
        place = Place(
            folder=self._room(peer),
            port=free_port(),
            upstream=self._websockets if mode.websocket else self._upstream_tls if mode.tls else self._upstream,
            token_endpoint=self._issuer,
            token=self._token,
            ca=self._folder / "upstream" / "cert.pem" if mode.tls else None,
            signs=mode.signs,
        )
        if mode.replicas:
            return asdict(replicas.measure(mode, place, self._seconds, self._warm_up))
        with Program(PEERS[peer](place), place.port, PEER_CORE, place.folder) as program:
            program.wait_until_ready("/small", {})
            if mode.idle:
                return asdict(load.sit(mode, program, self._seconds))
            if mode.websocket:
                with chatter.Chatter(program.port, mode) as open_ones:
                    return self._run(program, open_ones.run)
            return self._run(program, functools.partial(load.drive, mode, program.port))

    def _run(self, program: Program, drive: Callable[[int], load.Load]) -> dict[str, object]:
        mib = program.resident_mib()
        drive(self._warm_up)
        cpu, core, started = program.cpu_nanoseconds(), busy_seconds(PEER_CORE), time.monotonic()
        seen = drive(self._seconds)
        wall, used = time.monotonic() - started, (program.cpu_nanoseconds() - cpu) / 1e9
        foreign = max(0.0, busy_seconds(PEER_CORE) - core - used) / wall
        return {
            **asdict(seen),
            "cpu_us": used / max(seen.requests, 1) * 1e6,
            "core_used": used / wall,
            "core_used_by_others": foreign,
            "mib_at_start": mib,
            "mib_after": program.resident_mib(),
        }

    def _room(self, name: str) -> Path:
        room = self._folder / name
        room.mkdir(exist_ok=True)
        return room


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """A type for argparse: names, separated by commas, out of those that are known."""

    def parse(text: str) -> list[str]:
        chosen = list(known) if text == "all" else text.split(",")
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: have {', '.join(known)}, all")
        return chosen

    return parse


def main() -> None:
    """Measure, write every measurement down, and print the table."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--modes", type=names(MODES), default=["small", "idle"], help=f"of {', '.join(MODES)}")
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds before it")
    options = parser.parse_args()

    surroundings.install()
    prepare()
    print(describe(), flush=True)
    results = HERE / "results" / time.strftime("%Y%m%d-%H%M%S.jsonl")
    results.parent.mkdir(exist_ok=True)
    measured: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, results.open("w") as file:
        bench = Bench(Path(folder), options.seconds, options.warm_up)
        with bench.standing():
            for number in range(options.rounds):
                for mode in (MODES[name] for name in options.modes):
                    if mode.idle and number >= IDLE_ROUNDS:
                        continue
                    for peer in ["sidecar"] if mode.credentials or mode.replicas else options.peers:
                        one = {"round": number, "mode": mode.name, "peer": peer, **bench.attempt(peer, mode)}
                        measured.append(one)
                        file.write(json.dumps(one) + "\n")
                        file.flush()
                        print(f"round {number + 1}: {mode.name} {peer}", file=sys.stderr, flush=True)
    print(table(measured))
    print(f"\n{results.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
