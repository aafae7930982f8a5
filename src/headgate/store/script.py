"""A decision as one atomic script of Redis, and the bytes that ask for it.

The clock is that of Redis, so any number of machines agree whatever their own clocks say. Requests under plain limits
of one algorithm, nearly all, have scripts of their own in plain.py; all others take the one in general.py.
"""

import struct
from collections.abc import Sequence
from hashlib import sha1
from math import ceil, inf

from headgate.limits.decision import Banned, Decision, Delayed, Far, Holding, Leased, spare
from headgate.limits.keys import limit_identity
from headgate.limits.meter import Meter
from headgate.model.config import Limit, Rate
from headgate.model.snapshot import LimitState
from headgate.store import general, holding, plain
from headgate.store.base import Check, settle
from headgate.store.lease import Leases
from headgate.store.resp import command

_LONGEST = 2 * 366 * 86_400_000  # milliseconds; a period is a year at the most, and some look back at one more
_MOST = 2**63 - 1  # of a number in Redis
_ASKED = 1024  # commands of a limit that are kept, a quarter of a kilobyte each


def forms(source: bytes) -> tuple[bytes, bytes]:
    """How a script is called: by its hash, and with its text."""
    sha = sha1(source, usedforsecurity=False).hexdigest().encode()
    return (
        b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % sha,
        b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(source), source),
    )


_GENERAL = forms(general.SOURCE)
_PLAIN = {algorithm: forms(source) for algorithm, source in plain.SOURCES.items()}
_LEASE = forms(plain.LEASE)
_BAN_HOLDERS = forms(holding.BAN)[1] + b"$1\r\n1\r\n"


def period_ms(rate: Rate) -> int:
    """The rate's period in the milliseconds of Redis, rounded up; at least 2, for a key that expires in 0 is none."""
    return max(2, ceil(rate.period * 1000))


def _plain(limit: Limit, meter: Meter, period: int) -> bytes:
    """What the script of a plain limit is told of it: numbers as plain.py has them, packed, as a bulk string.

    period: in milliseconds for a fixed window, as is the term of what is in flight; else in the meter's unit.
    """
    tells = limit.headers == "always"  # then an answer must always say what is left: nothing is far
    left = spare(meter.burst)
    numbers: tuple[float, ...]
    if limit.algorithm == "gcra":
        most = meter.burst * period
        numbers = meter.most, period, meter.unit, most, -1 if tells else most - left * period
    elif limit.algorithm == "sliding_window":
        numbers = meter.most, period, meter.unit, inf if tells else (left + 1) * period
    else:
        numbers = meter.most, period, -1 if tells else meter.most - left
    return command(struct.pack(f"<{len(numbers)}d", *numbers))[4:]


class Rule:
    """A limit as Redis is told of it. It holds the limit, so that its id() stays its own.

    is_window: whether it is a fixed window. plain: the forms of the script for plain limits of its algorithm, None if
    it is not plain. arguments, in_general: what that script and the general one are told of it. asked: the commands of
    `ask`, by key. far: the decisions on a request under this limit alone when it is far from its end.
    leases: the places that the worker holds, None for a limit without `lease`.
    settles: whether what was taken may be given back. holds: whether it is a limit on what is in flight; `held_by` then
    says by whom. over: keys known to be at their limit (`known.py`): until when, how long to believe it, and whether
    they are banned.
    """

    __slots__ = (
        "_names",
        "_prefix",
        "arguments",
        "asked",
        "counts_refused",
        "far",
        "holder",
        "holds",
        "in_general",
        "is_window",
        "leases",
        "limit",
        "over",
        "plain",
        "settles",
    )

    def __init__(self, limit: LimitState, prefix: str) -> None:
        rate = limit.limit.rate
        self.limit = limit
        self.over: dict[bytes, tuple[float, float, bool]] = {}
        self.asked: dict[bytes, bytes] = {}
        self._names: dict[bytes, bytes] = {}
        self._prefix = f"{prefix}:{limit_identity(limit.limit)}:".encode("utf-8", "surrogateescape")
        meter = Meter(limit.limit)
        self.is_window = meter.is_window
        period, unit = (period_ms(rate), 1000) if meter.is_window else (meter.period, meter.unit)
        # Where something may be given back, refused requests must not count on in the key of a window.
        self.settles = bool(limit.limit.settle)
        is_plain = meter.is_plain and not self.settles and (meter.is_window or meter.most > 0)
        self.plain = _PLAIN[limit.limit.algorithm] if is_plain or meter.holds else None
        self.arguments = _plain(limit.limit, meter, period) if is_plain else b""
        self.far: Sequence[Decision] = [Holding.far(limit) if meter.holds else Far(limit)]
        kind = general.KINDS[limit.limit.algorithm]
        self.in_general = command(kind, rate.limit, period, meter.burst, unit, meter.delay)[4:]
        self.counts_refused = meter.counts_refused
        leases = limit.limit.lease > 1 and is_plain and meter.is_window
        self.leases = Leases(limit.limit.lease) if leases else None
        self.holds = meter.holds
        self.holder = b""

    def held_by(self, holder: bytes, term: bytes) -> None:
        """From now on this one asks, for so many milliseconds at a time."""
        self.asked.clear()
        if self.holds:
            limit = self.limit.limit
            self.in_general = command(general.KINDS[limit.algorithm], limit.rate.limit, term, holder, 1, 0)[4:]
            self.arguments = _plain(limit, Meter(limit), int(term))
            self.holder = command(holder)[4:]

    def ask(self, key: bytes) -> bytes:
        """The command that decides this one limit. It is kept, for a client that asks once mostly asks again."""
        if len(self.asked) >= _ASKED:
            self.asked.clear()
        command = self.asked[key] = ask([self], [(self.limit, key, 1)])
        return command

    def ban(self, key: bytes, milliseconds: int) -> bytes:
        """The command that bans a key: a word in the place of its count, which the script for windows fails at."""
        left = b"%d" % milliseconds
        if self.holds:
            return b"*5\r\n%b%b$%d\r\n%b\r\n" % (_BAN_HOLDERS, self.key(key), len(left), left)
        return b"*5\r\n$3\r\nSET\r\n%b$3\r\nban\r\n$2\r\nPX\r\n$%d\r\n%b\r\n" % (self.key(key), len(left), left)

    def name(self, key: bytes) -> bytes:
        """The name of the key in Redis, as a bulk string; it is kept, for who holds something asks and gives back."""
        if (name := self._names.get(key)) is None:
            if len(self._names) >= _ASKED:
                self._names.clear()
            name = self._names[key] = self.key(key)
        return name

    def key(self, key: bytes) -> bytes:
        """The name of the key in Redis, as a bulk string."""
        return b"$%d\r\n%b%b\r\n" % (len(self._prefix) + len(key), self._prefix, key)


# How a check is asked: which script, and whether by its hash or with its text (odd).
BY_HASH, WITH_TEXT, IN_GENERAL, IN_GENERAL_WITH_TEXT = range(4)
LEASED = 8  # a lease of a fixed window, also WITH_TEXT
# What is told to Redis, and no request waits for it: a sign of life; that the next command may be answered while
# its slot moves; a ban, with its milliseconds in the cost's place; what is taken without asking, by hash or with text;
# and a command of an operator, who is told the reply.
SIGN, ASKING, BAN, CHARGE, CHARGE_WITH_TEXT, TOLD = 17, 19, 21, 22, 23, 33


def with_text(form: int) -> int | None:
    """The form that asks the same of a Redis that lost the script; None where it was that already."""
    return None if form & WITH_TEXT else form | WITH_TEXT


def plain_forms(rules: Sequence[Rule], checks: Sequence[Check], form: int = BY_HASH) -> tuple[bytes, bytes] | None:
    """The script for plain limits that decides these checks, in its two forms; None where it takes the general one."""
    if form & LEASED:
        return _LEASE
    if form >= IN_GENERAL or (forms := rules[0].plain) is None or checks[0][2] != 1:
        return None
    if len(rules) == 1:
        return forms
    is_all = all(rule.plain is forms and cost == 1 for rule, (_, _, cost) in zip(rules, checks, strict=True))
    # All but windows are read before any is written: each key may stand there once.
    return forms if is_all and (rules[0].is_window or len(set(map(id, rules))) == len(rules)) else None


def ask(rules: Sequence[Rule], checks: Sequence[Check], form: int = BY_HASH) -> bytes:
    """The command that decides several limits at once.

    form: one for checks, or CHARGE, with or without text: then the general script takes without asking, as if refused
    requests counted, and whatever the answer says.
    """
    charges = form >= CHARGE
    count = b"%d" % len(rules)
    forms = plain_forms(rules, checks, form)
    if forms is None:
        number = 8 * len(rules)
        arguments = [
            rule.in_general + command(b"r" if charges or rule.counts_refused else b"-", cost)[4:]
            for rule, (_, _, cost) in zip(rules, checks, strict=True)
        ]
    else:
        number = len(rules)
        arguments = [rule.arguments for rule in rules]
        if rules[0].holds:
            number += 1
            arguments.append(rules[0].holder)
        elif form & LEASED and (leases := rules[0].leases) is not None:
            number += 1
            arguments.append(command(leases.size)[4:])
    return b"".join(
        (
            b"*%d\r\n" % (3 + len(rules) + number),
            (forms or _GENERAL)[form & WITH_TEXT],
            b"$%d\r\n%b\r\n" % (len(count), count),
            *[rule.key(key) for rule, (_, key, _) in zip(rules, checks, strict=True)],
            *arguments,
        )
    )


def tell(rules: Sequence[Rule], checks: Sequence[Check], form: int) -> bytes:
    """The command for these checks in any form but SIGN."""
    if form == ASKING:
        return command(b"ASKING")
    if form == BAN:
        _, key, milliseconds = checks[0]
        return rules[0].ban(key, milliseconds)
    return ask(rules, checks, form)


def probe(prefix: bytes | None) -> bytes:
    """A decision that leads to a write: a Redis that answers it can do all that is needed, and has the script then.

    It is one of two windows, both refused, for what they took is given back after a look at the time: a Redis that
    does not let a script write then (`lua-replicate-commands no`) refuses what nearly all scripts do.
    prefix: of the key that is written; None where no key can be.
    """
    keys = [] if prefix is None else [b"%b:probe" % prefix] * 2
    return command(b"EVAL", plain.FIXED_WINDOW, len(keys), *keys, *[struct.pack("<ddd", 0, 1_000, -1)] * 2)


def decisions(line: bytes, checks: Sequence[Check]) -> list[Decision]:
    """What the script's answer says of the checks, unless it is that of limits which are all far from their end.

    Raises ValueError when it is no answer of the script.
    """
    fields = line.split()
    if len(checks) == 1:
        limit = checks[0][0]
        if len(fields) == 2:  # the usual one
            return [_decision(limit, int(fields[0]), int(fields[1]))]
        if len(fields) == 3:
            return [_verdict(limit, *fields)]
        return [_leased(limit, *map(int, fields[1:]))] if len(fields) == 4 else _no_answer()
    if len(fields) == 3 * len(checks):
        told = zip(checks, fields[::3], fields[1::3], fields[2::3], strict=True)
        found = [_verdict(check[0], verdict, remaining, left) for check, verdict, remaining, left in told]
    else:
        counts = zip(checks, map(int, fields[::2]), map(int, fields[1::2]), strict=True)
        found = [_decision(check[0], count, left) for check, count, left in counts]
    if not all([one.allowed for one in found]):  # noqa: C419 (a generator costs more)
        settle(found, checks)
    return found


def _no_answer() -> list[Decision]:
    raise ValueError("not as many numbers as there are in an answer")


def _leased(limit: LimitState, remaining: int, left: int, taken: int) -> Decision:
    if not 0 <= remaining <= _MOST or not 0 < left <= 1000 * _LONGEST or not 0 < taken <= remaining + 1:
        raise ValueError("not a lease")
    return Leased(limit, remaining, left, taken)


def _verdict(limit: LimitState, verdict: bytes, remaining: bytes, left: bytes) -> Decision:
    number, time = int(remaining), int(left)
    if not 0 <= number <= _MOST or not 0 <= time <= 2**53:
        raise ValueError("not a decision")
    if verdict == b"1":
        return Decision(True, limit, number, time)
    if verdict == b"0":
        return Decision(False, limit, number, time)
    if verdict == b"2":
        return Delayed(limit, 0, time, number)
    if verdict == b"3":
        return Banned(False, limit, number, time)
    if verdict == b"4":
        return Holding(True, limit, number, time)
    raise ValueError("not a verdict")


def _decision(limit: LimitState, count: int, left: int) -> Decision:
    if not 0 < left <= _LONGEST or not -_MOST <= count <= _MOST:
        raise ValueError("not a count and a time")
    remaining = limit.limit.rate.limit - count
    return Decision(remaining >= 0, limit, remaining if remaining > 0 else 0, left * 1000)  # noqa: FURB136 (max is slower)
