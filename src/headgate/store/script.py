"""A decision as one atomic script of Redis, and the bytes that ask for it.

The script is `limits/fixed_window.py` on the clock of Redis, so any number of machines agree whatever their own clocks
say; that clock ticks in milliseconds here. All limits of a request are one call: all are checked, then all are taken,
or none. A key is a number that expires with its window, so Redis itself ends the window: two commands for the usual
request, 4 us of Redis, where reading the clock and writing the state as text took 10. A key lives as long as the clock
shows no more than its last millisecond, hence `period - 1` when it is set and one more when it is told.
A refused request of a single limit counts on in its key, which changes nothing: the key is over its limit and stays
so until it expires.
The answer is one line, `count reset_after` for each limit, where count is what the request makes it, or would make it:
a batch of them is cheap to take apart.
"""

from collections.abc import Sequence
from hashlib import sha1
from math import ceil

from headgate.limits.decision import Decision
from headgate.limits.keys import limit_identity
from headgate.model.config import Rate
from headgate.model.snapshot import LimitState
from headgate.store.base import Check, settle
from headgate.store.resp import command

_LONGEST = 366 * 86_400_000  # milliseconds; a period is a year at the most
_MOST = 2**63 - 1  # of a number in Redis
_ASKED = 1024  # commands of a limit that are kept, a quarter of a kilobyte each
TICK = 0.001  # seconds; what the script says of a window's end is at most so much too late

SOURCE = b"""\
local call = redis.call
local no_count, most = {err = 'ERR value is not an integer'}, 9007199254740991
if #KEYS == 1 then
  local key, period = KEYS[1], ARGV[2] + 0
  local count, left = call('INCR', key), -1
  if count >= most or count <= -most then return no_count end
  if count > 1 then left = call('PTTL', key) end
  if left < 0 or left >= period then
    left = period - 1
    call('PEXPIRE', key, left)
  end
  return redis.status_reply(count .. ' ' .. left + 1)
end
local counts, lefts, fresh, reply, passes = {}, {}, {}, {}, true
for i, key in ipairs(KEYS) do
  local limit, period = ARGV[2 * i - 1] + 0, ARGV[2 * i] + 0
  if not counts[key] then
    local value = tonumber(call('GET', key) or 0)
    if not value or value % 1 ~= 0 or value >= most or value <= -most then return no_count end
    counts[key], lefts[key] = value, call('PTTL', key)
    if lefts[key] < 0 or lefts[key] >= period then
      lefts[key], fresh[key] = period - 1, true
    end
  end
  local count = counts[key] + 1
  if count <= limit then counts[key] = count else passes = false end
  reply[i] = count .. ' ' .. lefts[key] + 1
end
if passes then
  for _, key in ipairs(KEYS) do
    call('INCR', key)
    if fresh[key] then call('PEXPIRE', key, lefts[key]) end
  end
end
return redis.status_reply(table.concat(reply, ' '))
"""
_SHA = sha1(SOURCE, usedforsecurity=False).hexdigest().encode()
_BY_HASH = b"$7\r\nEVALSHA\r\n" + b"$40\r\n%b\r\n" % _SHA
_IN_FULL = b"$4\r\nEVAL\r\n" + b"$%d\r\n%b\r\n" % (len(SOURCE), SOURCE)


def period_ms(rate: Rate) -> int:
    """The rate's period in the milliseconds of Redis, rounded up; at least 2, for a key that expires in 0 is none."""
    return max(2, ceil(rate.period * 1000))


class Rule:
    """A limit as Redis is told of it. It holds the limit, so that its id() stays its own.

    over: keys known to be at their limit, and until when (on the loop's clock). asked: what `ask` returned, by key.
    """

    __slots__ = ("_arguments", "_head", "_prefix", "asked", "limit", "over")

    def __init__(self, limit: LimitState, prefix: str) -> None:
        rate = limit.limit.rate
        self.limit = limit
        self.over: dict[bytes, float] = {}
        self.asked: dict[bytes, bytes] = {}
        self._prefix = f"{prefix}:{limit_identity(limit.limit)}:".encode("utf-8", "surrogateescape")
        self._arguments = command(rate.limit, period_ms(rate))[4:]
        self._head = b"*6\r\n" + _BY_HASH + b"$1\r\n1\r\n"

    def ask(self, key: bytes) -> bytes:
        """The command that decides this one limit. It is kept, for a client that asks once mostly asks again."""
        if len(self.asked) >= _ASKED:
            self.asked.clear()
        command = self.asked[key] = self._head + self.key(key) + self._arguments
        return command

    def key(self, key: bytes) -> bytes:
        """The name of the key in Redis, as a bulk string."""
        return b"$%d\r\n%b%b\r\n" % (len(self._prefix) + len(key), self._prefix, key)

    @property
    def arguments(self) -> bytes:
        """The limit and its period in milliseconds, as bulk strings."""
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
    return command(b"EVAL", SOURCE, 1, f"{prefix}:probe", 1_000_000_000, 1_000)


def decisions(line: bytes, checks: Sequence[Check]) -> list[Decision]:
    """What the script's answer says of the checks. Raises ValueError when it is no answer of the script."""
    fields = line.split()
    if len(checks) == 1:
        count, left = fields
        return [_decision(checks[0][0], int(count), int(left))]
    found = [
        _decision(limit, int(count), int(left))
        for (limit, _), count, left in zip(checks, fields[::2], fields[1::2], strict=True)
    ]
    settle(found)
    return found


def _decision(limit: LimitState, count: int, left: int) -> Decision:
    if not 0 < left <= _LONGEST or not -_MOST <= count <= _MOST:
        raise ValueError("not a count and a time")
    remaining = limit.limit.rate.limit - count
    return Decision(remaining >= 0, limit, max(0, remaining), left * 1000)
