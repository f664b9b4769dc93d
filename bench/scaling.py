"""What 1,000 pods ask of one issuer, by the program's own rules, on a clock that costs no time. Prints a table.

    python bench/scaling.py

When to renew, how long to use a token and how long to rest after a 429 are `policy.py` and `renewal_pause.py` of
`proxy/tokens` themselves. The issuer grants so many tokens a second, and answers 429 with `Retry-After: 1` to all
other requests, each after a tenth of a second. Chance comes from a fixed seed: the table, which docs/scaling.md quotes,
is always the same.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.config.schema import Refresh
from proxy.errors import CredentialUnavailable
from proxy.tokens import policy
from proxy.tokens.renewal_pause import NONE, RenewalPause

PODS = 1000
ALLOWED = 10.0
"""Token requests a second; so many at once, too."""
ANSWERS_AFTER = 0.1
RETRY_AFTER = "1"
LIFETIMES = 6
"""How many lifetimes of a token are looked at."""
WHOLE = 10
"""From here on, figures are told without a fraction."""
HOUR, MINUTE = 3600.0, 60.0


@dataclass(frozen=True)
class Case:
    """One line of the table.

    `starts_within`: seconds over which the pods are started. `down`: seconds for which the issuer refuses everything,
    from shortly before the second renewals on. `shared`: all have one credential in one store.
    """

    name: str
    lifetime: float
    refresh: Refresh = field(default_factory=Refresh)
    starts_within: float = 1.0
    down: float = 0.0
    shared: bool = False


CASES = (
    Case("tokens of 1 h, started over 10 min", HOUR, starts_within=10 * MINUTE),
    Case("tokens of 1 h, started at once", HOUR),
    Case("the same, `jitter: 0`", HOUR, Refresh(jitter=0.0)),
    Case("the same, `jitter: 0.5`", HOUR, Refresh(jitter=0.5)),
    Case("the same, issuer down for 10 min when they are due", HOUR, down=10 * MINUTE),
    Case("the same, for 30 min", HOUR, down=30 * MINUTE),
    Case("tokens of 5 min, started at once", 5 * MINUTE),
    Case("the same, `jitter: 0.5`", 5 * MINUTE, Refresh(jitter=0.5)),
    Case("tokens of 1 min, started at once", MINUTE),
    Case("tokens of 1 h, one credential, `store: redis`", HOUR, shared=True),
    Case("tokens of 1 min, one credential, `store: redis`", MINUTE, shared=True),
)


class Issuer:
    """A bucket that fills by `ALLOWED` a second; out of it each token is taken."""

    def __init__(self, down: tuple[float, float]) -> None:
        self.seconds: Counter[int] = Counter()
        self.refused = 0
        self._left = ALLOWED
        self._filled = 0.0
        self._down = down

    def grants(self, now: float) -> bool:
        """Whether a request that comes now gets a token."""
        self.seconds[int(now)] += 1
        self._left = min(ALLOWED, self._left + (now - self._filled) * ALLOWED)
        self._filled = now
        if self._down[0] <= now < self._down[1] or self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        return True


@dataclass
class Pod:
    """Moments on the simulated clock. `usable_until`: of its token; `without`: seconds between two tokens, at most."""

    started: float
    usable_until: float = 0.0
    first: float | None = None
    without: float = 0.0
    pause: RenewalPause = NONE


@dataclass(frozen=True)
class Outcome:
    """Seconds and requests. `all_served`: until each pod had its first token, None where some never had one."""

    all_served: float | None
    busiest_at_start: int
    average: float
    busiest: int
    refused: int
    without: float


def simulate(case: Case) -> Outcome:
    """Run one case."""
    chance = random.Random(1)  # noqa: S311 - a simulation that is to be repeated
    falls = 1.6 * case.lifetime
    issuer = Issuer((falls, falls + case.down))
    pods = [Pod(case.starts_within * chance.random()) for _ in range(1 if case.shared else PODS)]
    looks = [(pod.started, number) for number, pod in enumerate(pods)]
    heapq.heapify(looks)
    ends = LIFETIMES * case.lifetime
    while looks[0][0] < ends:
        now, number = heapq.heappop(looks)
        heapq.heappush(looks, (_attempt(case, pods[number], issuer, now, chance), number))
    firsts = [pod.first for pod in pods if pod.first is not None]
    began = min(max(firsts), case.lifetime)
    start, later = ([count for at, count in issuer.seconds.items() if (at < began) is early] for early in (True, False))
    return Outcome(
        all_served=max(firsts) if len(firsts) == len(pods) else None,
        busiest_at_start=max(start),
        average=sum(later) / (ends - began),
        busiest=max(later),
        refused=issuer.refused,
        without=max(pod.without for pod in pods),
    )


def _attempt(case: Case, pod: Pod, issuer: Issuer, now: float, chance: random.Random) -> float:
    """One token request, and when the next one is due."""
    if issuer.grants(now):
        came = now + ANSWERS_AFTER
        if pod.first is None:
            pod.first = came
        else:
            pod.without = max(pod.without, came - pod.usable_until)
        pod.pause = NONE
        pod.usable_until = now + policy.usable_for(case.lifetime)
        sharing = PODS if case.shared else 1  # whoever is due first renews for all
        return now + min(policy.due_after(case.lifetime, case.refresh, chance.random()) for _ in range(sharing))
    requested = policy.retry_after(RETRY_AFTER, wall=0.0)
    fault = CredentialUnavailable("429", retry_after=requested)
    pod.pause = pod.pause.after(fault, now + ANSWERS_AFTER, chance.random(), 0, slowly=False)
    ended = pod.usable_until <= pod.pause.wanted  # then requests wait for a token, and ask sooner
    return pod.pause.wanted if ended else pod.pause.until


def table() -> str:
    """All cases, as Markdown."""
    heads = (
        f"{PODS:,} pods",
        "all have a token after",
        "requests in the busiest second until then",
        "later: requests a second",
        "in the busiest second",
        "refused in all",
        "a pod without a token, at most",
    )
    lines = [_line(heads), _line(("---", *["---:"] * (len(heads) - 1)))]
    for case in CASES:
        it = simulate(case)
        lines.append(
            _line(
                (
                    case.name,
                    "never" if it.all_served is None else f"{it.all_served:.0f} s",
                    f"{it.busiest_at_start:,}",
                    f"{it.average:.2g}" if it.average < WHOLE else f"{it.average:.0f}",
                    f"{it.busiest:,}",
                    f"{it.refused:,}",
                    f"{it.without:.0f} s" if it.without > 0 else "never",
                )
            )
        )
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(table())
