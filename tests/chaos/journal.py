"""What happened, and whether it may have happened. Pure: moments are epoch seconds, told by whoever notes something.

A request that fails is excused where its replica was dead or stopped; where the replica had no token that was still
good; never else. A token is still good until shortly before its end, the moment from which it is not handed out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

NOTICE = 3.0
"""Seconds after which a token that one replica has is in the hands of all others, if their store can be reached."""
_TRAVEL = 1.0
"""Seconds that a request takes on a busy machine, or by which whole seconds are rounded."""
_HELD_BACK = 0.1
"""The share of its life in which a token is not handed out any more."""


@dataclass
class Absence:
    """Of a replica, or of the store: why, since when, and until when (None: it goes on)."""

    why: str
    began: float
    ended: float | None = None

    def meets(self, began: float, ended: float) -> bool:
        """Whether it has anything in common with that time."""
        return self.began <= ended and (self.ended is None or began <= self.ended)


@dataclass(frozen=True)
class Trouble:
    """A request that was not answered as it should: which replica's, when, and what came instead."""

    replica: int
    began: float
    ended: float
    result: str


@dataclass(frozen=True)
class _Seen:
    moment: float
    ends: float
    first: float


@dataclass
class Journal:
    """`lifetime`: seconds that tokens live. `burned`: moments at which the issuer withdrew a grant."""

    lifetime: float
    replicas: int = 3
    served: Counter[int] = field(default_factory=Counter)
    troubles: list[Trouble] = field(default_factory=list)
    absences: dict[int, list[Absence]] = field(default_factory=dict)
    outages: list[Absence] = field(default_factory=list)
    burned: list[float] = field(default_factory=list)
    expired_sent: list[tuple[int, float]] = field(default_factory=list)
    _tokens: dict[int, list[_Seen]] = field(default_factory=dict)

    # ---- what is told ------------------------------------------------------------------------------------------------

    def absent(self, replica: int, why: str, now: float) -> Absence:
        """A replica is dead or stopped from now on."""
        absence = Absence(why, now)
        self.absences.setdefault(replica, []).append(absence)
        return absence

    def outage(self, why: str, now: float) -> Absence:
        """The store is, too."""
        absence = Absence(why, now)
        self.outages.append(absence)
        return absence

    def accepted(self, replica: int, now: float, ends: float, first: float) -> None:
        """The API took a token; `first`: when it came for the first time, from whomever."""
        self.served[replica] += 1
        tokens = self._tokens.setdefault(replica, [])
        if not tokens or tokens[-1].first != first:
            tokens.append(_Seen(now, ends, first))

    def refused(self, replica: int, now: float, ends: float) -> None:
        """The API refused a token: one that had ended is never to be sent, one of a withdrawn grant may be."""
        if ends and not self._away(replica, now - _TRAVEL - 1, now) and now > ends + _TRAVEL:
            self.expired_sent.append((replica, now))

    def trouble(self, replica: int, began: float, ended: float, result: str) -> None:
        """A caller was not served."""
        self.troubles.append(Trouble(replica, began, ended, result))

    # ---- what follows ------------------------------------------------------------------------------------------------

    def newest(self, replica: int) -> float:
        """When the newest token that a replica was served with came for the first time; 0 for none."""
        return max((token.first for token in self._tokens.get(replica, ())), default=0.0)

    def judge(self, trouble: Trouble) -> str:
        """Why a request may have failed; empty where nothing excuses it."""
        if self._away(trouble.replica, trouble.began - _TRAVEL, trouble.ended):
            return "replica away"
        if any(trouble.began - self.lifetime <= moment <= trouble.ended for moment in self.burned):
            return "grant withdrawn"
        if self._had_a_good_token(trouble):
            return ""
        return "no token"

    def complaints(self) -> list[str]:
        """Every failure that nothing excuses, and every ended token that was sent."""
        bad = [trouble for trouble in self.troubles if not self.judge(trouble)]
        told = [
            f"replica {bad.replica}: {bad.result} although a token was good, at {bad.began:.2f}-{bad.ended:.2f}"
            for bad in bad
        ]
        return told + [f"replica {replica}: an ended token was sent at {at:.2f}" for replica, at in self.expired_sent]

    def report(self) -> str:
        """For who waits at the terminal."""
        causes = Counter(f"{self.judge(trouble) or 'UNEXCUSED'}: {trouble.result}" for trouble in self.troubles)
        lost = ", ".join(f"{count} times {cause}" for cause, count in causes.most_common()) or "none"
        return f"{sum(self.served.values())} served ({dict(self.served)}); failed: {lost}"

    def _away(self, replica: int, began: float, ended: float) -> bool:
        return any(absence.meets(began, ended) for absence in self.absences.get(replica, ()))

    def _had_a_good_token(self, trouble: Trouble) -> bool:
        """Its own; or another replica's, which it must have heard of."""
        usable_until = trouble.ended + _TRAVEL + _HELD_BACK * self.lifetime
        died = max((one.ended or 0.0 for one in self._killed(trouble.replica)), default=0.0)
        own = (token for token in self._tokens.get(trouble.replica, ()) if died < token.moment < trouble.began)
        if any(token.ends > usable_until for token in own):
            return True
        told = trouble.began - NOTICE
        if self._away(trouble.replica, told - _TRAVEL, trouble.ended):
            return False
        if any(outage.meets(told - self.lifetime, trouble.ended) for outage in self.outages):
            return False
        everyone = (token for tokens in self._tokens.values() for token in tokens)
        return any(token.moment < told and token.ends > usable_until for token in everyone)

    def _killed(self, replica: int) -> list[Absence]:
        return [absence for absence in self.absences.get(replica, ()) if absence.why == "killed"]
