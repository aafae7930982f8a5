"""A decision as one atomic script of Redis, and the bytes that ask for it.

The script repeats `limits/fixed_window.py` on the clock of Redis, so any number of machines agree whatever their own
clocks say. All limits of a request are one call: all are checked, then all are taken, or none. Numbers are whole
microseconds: Lua's doubles hold them exactly, and `%.0f` writes them so (`..` would round to 14 digits).
A key's value is "taken reset_at"; it expires with its window. What cannot be read as that counts as a new key.
The answer is one line, `allowed remaining reset_after` for each limit: a batch of them is cheap to take apart.
Time before a write is safe since Redis 5, which replicates what a script did and not the script.
"""

from collections.abc import Sequence
from hashlib import sha1

from headgate.limits.decision import Decision
from headgate.limits.fixed_window import period_us
from headgate.limits.keys import limit_identity
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, settle
from headgate.store.resp import command

SOURCE = b"""\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function write(key, taken, reset)
  redis.call('SET', key, string.format('%.0f %.0f', taken, reset), 'PX', math.ceil((reset - now) / 1000))
end
local states, reply, passes = {}, {}, true
for i, key in ipairs(KEYS) do
  local limit, period = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local state = states[key]
  if not state then
    local taken, reset = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
    taken, reset = tonumber(taken) or 0, tonumber(reset) or 0
    if now >= reset then
      taken, reset = 0, now + period
    elseif reset > now + period then
      reset = now + period
      write(key, taken, reset)
    end
    state = {taken, reset}
    states[key] = state
  end
  local allowed = state[1] < limit
  if allowed then state[1] = state[1] + 1 else passes = false end
  reply[i] = string.format('%d %.0f %.0f', allowed and 1 or 0, math.max(0, limit - state[1]), state[2] - now)
end
if passes then
  for key, state in pairs(states) do write(key, state[1], state[2]) end
end
return redis.status_reply(table.concat(reply, ' '))
"""
_SHA = sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
_BY_HASH = b"$7\r\nEVALSHA\r\n" + b"$40\r\n%b\r\n" % _SHA
_IN_FULL = b"$4\r\nEVAL\r\n" + b"$%d\r\n%b\r\n" % (len(SOURCE), SOURCE)


class Rule:
    """A limit as Redis is told of it. It holds the limit, so that its id() stays its own.

    over: keys known to be at their limit, and until when (on the loop's clock).
    """

    __slots__ = ("_arguments", "_head", "_prefix", "limit", "over")

    def __init__(self, limit: LimitState, prefix: str) -> None:
        rate = limit.limit.rate
        self.limit = limit
        self.over: dict[bytes, float] = {}
        self._prefix = f"{prefix}:{limit_identity(limit.limit)}:".encode("utf-8", "surrogateescape")
        self._arguments = command(rate.limit, period_us(rate))[4:]
        self._head = b"*6\r\n" + _BY_HASH + b"$1\r\n1\r\n"

    def ask(self, key: bytes) -> bytes:
        """The command that decides this one limit."""
        prefix = self._prefix
        return b"%b$%d\r\n%b%b\r\n%b" % (self._head, len(prefix) + len(key), prefix, key, self._arguments)

    def key(self, key: bytes) -> bytes:
        """The name of the key in Redis, as a bulk string."""
        return b"$%d\r\n%b%b\r\n" % (len(self._prefix) + len(key), self._prefix, key)

    @property
    def arguments(self) -> bytes:
        """The limit and its period in microseconds, as bulk strings."""
        return self._arguments


def ask(rules: Sequence[Rule], keys: Sequence[bytes], in_full: bool = False) -> bytes:
    """The command that decides several limits at once. in_full: with the script's text, for a Redis that lost it."""
    count = b"%d" % len(rules)
    return b"".join(
        (
            b"*%d\r\n" % (3 + 3 * len(rules)),
            _IN_FULL if in_full else _BY_HASH,
            b"$%d\r\n%b\r\n" % (len(count), count),
            *[rule.key(key) for rule, key in zip(rules, keys, strict=True)],
            *[rule.arguments for rule in rules],
        )
    )


def probe(prefix: str) -> bytes:
    """A decision that leads to a write: a Redis that answers it can do all that is needed, and has the script then."""
    return command(b"EVAL", SOURCE, 1, f"{prefix}:probe", 1_000_000_000, 1_000_000)


def decisions(line: bytes, checks: Sequence[Check]) -> list[Decision]:
    """What the script's answer says of the checks. Raises ValueError when it is no answer of the script."""
    fields = line.split()
    if len(checks) == 1:
        allowed, remaining, reset_after = fields
        return [Decision(allowed == b"1", checks[0][0], int(remaining), int(reset_after))]
    found = [
        Decision(allowed == b"1", limit, int(remaining), int(reset_after))
        for (limit, _), allowed, remaining, reset_after in zip(
            checks, fields[::3], fields[1::3], fields[2::3], strict=True
        )
    ]
    settle(found)
    return found
