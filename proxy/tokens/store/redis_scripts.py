"""What is kept in Redis under which key, and the scripts that change it. Each touches the keys of one credential alone.

    auth-sidecar:{crm}          the record: the JSON of `envelope.py` with its revision outside, without an expiry
    auth-sidecar:{crm}:lease    who renews the credential now: a random word, gone when the lease ends
    auth-sidecar:changes        the channel on which every save is announced: `sender revision crm`

The braces are the hash tag of Redis Cluster: all keys of a credential are in one slot. A credential's name is
percent-encoded. The scripts are sent whole each time (EVAL): a server that was restarted or that took over knows none.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from msgspec import Struct

SAVE = """\
local stored = redis.call('GET', KEYS[1])
if stored then
  if stored == ARGV[2] then return {'saved'} end
  local read, outer = pcall(cjson.decode, stored)
  if not read or type(outer) ~= 'table' or type(outer.revision) ~= 'number' then return {'unread', stored} end
  if outer.revision >= tonumber(ARGV[1]) then return {'later', stored} end
  if redis.sha1hex(stored) ~= ARGV[3] then return {'unread', stored} end
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
redis.call('SET', KEYS[1], ARGV[2])
return {'saved'}
"""
"""Compare and set. KEYS: the record. ARGV: the new revision, the new record, the SHA-1 of the record that whoever saves
has opened, the channel, the notice.

`later`: what is stored is not older. `unread`: it is older, but not what was opened: whoever saves has to open it
first, for a record that nobody can open is not replaced. PUBLISH stands before SET: where the first is not permitted,
nothing has changed; nobody reads between the two.
"""

EXTEND = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
"""KEYS: the lease. ARGV: its owner, milliseconds. 0: it is no longer theirs."""

RELEASE = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
"""KEYS: the lease. ARGV: its owner. 0: it was no longer theirs."""


class Notice(Struct, frozen=True):
    """A save. `sender`: which process made it."""

    sender: str
    revision: int
    name: str

    def encoded(self) -> str:
        """As it is published."""
        return f"{self.sender} {self.revision} {quote(self.name, safe='')}"


def read_notice(message: bytes) -> Notice | None:
    """None where it is none of ours."""
    sender, _, rest = message.decode("utf-8", "replace").partition(" ")
    revision, _, name = rest.partition(" ")
    if not (sender and name and revision.isascii() and revision.isdigit()):
        return None
    return Notice(sender, int(revision), unquote(name))


class RedisKeys:
    """`prefix`: `store.key_prefix`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.channel = f"{prefix}changes"

    def record(self, name: str) -> str:
        """Of a credential."""
        return f"{self._prefix}{{{quote(name, safe='')}}}"

    def lease(self, name: str) -> str:
        """Of a credential."""
        return f"{self.record(name)}:lease"

    def name_of(self, key: str) -> str | None:
        """The credential whose record a key is, None for all other keys."""
        inner = key.removeprefix(self._prefix)
        if not (key.startswith(self._prefix) and inner.startswith("{") and inner.endswith("}")):
            return None
        return unquote(inner[1:-1])

    @property
    def pattern(self) -> str:
        """What finds records with SCAN."""
        escaped = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in self._prefix)
        return f"{escaped}{{*}}"
