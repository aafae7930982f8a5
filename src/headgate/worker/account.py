"""What is kept of every exchange: counters in the shared cells and a line in the access log."""

from collections.abc import Callable, Sequence
from time import gmtime, monotonic, strftime, time
from typing import TYPE_CHECKING

from headgate.errors import ExchangeError
from headgate.limits import concurrency
from headgate.limits.decision import Banned, Decision, Far
from headgate.model.config import AccessLog
from headgate.model.snapshot import LimitState
from headgate.store.base import Check
from headgate.store.ways import Tally
from headgate.wire.cells import FLAGS, LATENCY_BUCKETS, LATENCY_SHIFT, Cells, LimitCell, ServerCell, WorkerCell
from headgate.worker.access_log import Fields, LogWriter, json_line, text_line, visible
from headgate.worker.server import Server

if TYPE_CHECKING:
    from headgate.worker.course import Course
    from headgate.worker.downstream import Downstream

_FLAG_CELL = {flag: WorkerCell.FLAG + place for place, flag in enumerate(FLAGS)}
_NAMES = {flag: flag.encode() for flag in ("-", *FLAGS)}
# Plain numbers: an enum member as an index costs a conversion for each use.
_REQUESTS = int(WorkerCell.REQUESTS)
_CLASS = int(ServerCell.CLASS)
_LATENCY = int(ServerCell.LATENCY)
_LATENCY_SUM = int(ServerCell.LATENCY_SUM)
_LAST_BUCKET = LATENCY_BUCKETS - 1
# Numbers as the access log writes them.
_MS = [b".%03dZ" % ms for ms in range(1000)]
_STATUS = [b"%d" % status for status in range(600)]


class Account:
    """Counts for one worker."""

    __slots__ = (
        "_began",
        "_cells",
        "_index",
        "_limits",
        "_line",
        "_second",
        "_shown",
        "_tallies",
        "_worker",
        "hides",
        "log",
    )

    def __init__(self, cells: Cells, index: int) -> None:
        self._cells = cells
        self._index = index
        self._worker = cells.worker(index)
        self._limits: dict[int, memoryview] = {}
        self._tallies: dict[tuple[int, bool], Tally] = {}
        self._line: Callable[[Fields], bytes] = text_line
        self._shown: Callable[[bytes], bytes] = visible
        self.log: LogWriter | None = None
        self.hides = False  # whether a plan hides something of a target; for good: exchanges outlast their plan
        self._second = b""  # the present one as the access log writes it
        self._began = float("-inf")  # when it did, on the clock of `monotonic`

    def log_to(self, log: LogWriter | None, config: AccessLog | None) -> None:
        """Writes the access log there from now on, or not at all."""
        self.log = log
        if config is not None and config.format == "json":
            self._line, self._shown = json_line, bytes  # JSON has escapes of its own
        else:
            self._line, self._shown = text_line, visible

    def ended(self, exchange: "Course") -> None:
        """An exchange is over, whatever came of it."""
        now = monotonic()
        microseconds = int((now - exchange.started) * 1e6)
        server = exchange.server
        flag = exchange.flag
        self._worker[_REQUESTS] += 1
        if flag == "-" and server is not None:
            cells = server.cells
            cells[_CLASS + exchange.status // 100] += 1
            if exchange.status != 101:  # how long a tunnel lasts says nothing of how fast its server is
                bucket = (microseconds >> LATENCY_SHIFT).bit_length()
                cells[_LATENCY + (bucket if bucket < _LAST_BUCKET else _LAST_BUCKET)] += 1  # noqa: FURB136 (min is slower)
                cells[_LATENCY_SUM] += microseconds
        else:
            self._worker[_FLAG_CELL[flag]] += 1
        if self.log is not None:
            head = exchange.head
            since = now - self._began
            ms = int(since * 1000) if since < 1 else self._next_second(now)
            self.log.add(
                self._line(
                    (
                        self._second + _MS[ms],
                        exchange.client.address if head.claims is None else exchange.client_ip.encode(),
                        head.method,
                        head.host or b"-",
                        exchange.target if self.hides else head.target,
                        _STATUS[exchange.status],
                        b"%d" % exchange.sent,
                        b"0.%06d" % microseconds
                        if microseconds < 1_000_000
                        else b"%d.%06d" % divmod(microseconds, 1_000_000),
                        server.label if server is not None else b"- -",
                        _NAMES[flag],
                        exchange.id if head.claims is None else self._shown(exchange.id),
                    )
                )
            )

    def refused(self, client: "Downstream", error: ExchangeError) -> None:
        """A request never became an exchange because its head could not be read."""
        self._worker[_REQUESTS] += 1
        self._worker[_FLAG_CELL[error.flag]] += 1
        if self.log is not None:
            ms = _MS[self._next_second(monotonic())]
            status, name = _STATUS[error.status], _NAMES[error.flag]
            fields = (
                self._second + ms,
                client.address,
                b"-",
                b"-",
                b"-",
                status,
                b"0",
                b"0.000000",
                b"- -",
                name,
                b"-",
            )
            self.log.add(self._line(fields))

    def _next_second(self, now: float) -> int:
        """Takes the time of day, which is written anew once a second; the milliseconds of it."""
        wall = time()
        second = int(wall)
        self._second = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second)).encode()
        self._began = now - (wall - second)
        return int((wall - second) * 1000)

    def decided(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Limits allowed or refused. Returns those that refuse, without the ones that are only tried."""
        refusals: list[Decision] | None = None
        for decision in decisions:
            limit = decision.limit
            cells = self._limits.get(limit.slot) or self._limit(limit)
            if decision.__class__ is Far:
                cells[_ALLOWED] += 1
            elif decision.allowed:
                cells[_ALLOWED] += 1
                config = limit.limit
                if decision.remaining * 5 <= (config.burst or config.rate.limit):
                    cells[_NEAR] += 1
            elif limit.limit.dry_run:
                cells[LimitCell.DRY_REFUSED] += 1
            else:
                cells[_REFUSED] += 1
                if isinstance(decision, Banned):
                    cells[LimitCell.BANNED] += 1
                refusals = [*(refusals or ()), decision]
        return refusals or ()

    def tally(self, limit: LimitState) -> Tally:
        """Where short ways count the requests under a limit; `count` brings it into the cells.

        So the metrics are a sweep behind, and what is between two sweeps is lost with a worker that is killed.
        """
        return self._tallies.setdefault((limit.slot, limit.limit.algorithm == concurrency.NAME), Tally())

    def count(self) -> None:
        """Adds to the cells what short ways have counted since the last time.

        To be called before a snapshot without a limit is said to be adopted: its slot may then be another's.
        """
        for (slot, holds), tally in self._tallies.items():
            passed, left = tally.take()
            if passed or left:
                cells = self._of(slot)
                cells[_ALLOWED] += passed
                if holds:
                    cells[_IN_FLIGHT] = max(0, cells[_IN_FLIGHT] + passed - left)

    def delayed(self, limit: LimitState) -> None:
        """A limit holds a request back."""
        self._limit(limit)[LimitCell.DELAYED] += 1

    def holds(self, checks: Sequence[Check], sign: int) -> None:
        """A request took places (1) or gave them back (-1)."""
        for limit, _, cost in checks:
            cells = self._limits.get(limit.slot) or self._limit(limit)
            # The slot of a limit that is configured no more may be another's by the time the request ends.
            held = cells[_IN_FLIGHT] + sign * cost
            cells[_IN_FLIGHT] = held if held > 0 else 0  # noqa: FURB136 (max is slower)

    def store_failed(self, limit: LimitState) -> None:
        """The store could not be asked: the limit's `on_store_error` decides."""
        self._limit(limit)[LimitCell.STORE_ERRORS] += 1
        self._worker[WorkerCell.STORE_ERRORS] += 1

    def store_took(self, seconds: float) -> None:
        """So long did the store take for an answer."""
        microseconds = int(seconds * 1e6)
        bucket = (microseconds >> LATENCY_SHIFT).bit_length()
        self._worker[WorkerCell.STORE_LATENCY + min(bucket, _LAST_BUCKET)] += 1
        self._worker[WorkerCell.STORE_LATENCY_SUM] += microseconds

    def function_failed(self, limit: LimitState) -> None:
        """A function of the limit failed: its `on_error` is used."""
        self._limit(limit)[LimitCell.FUNCTION_ERRORS] += 1

    def _limit(self, limit: LimitState) -> memoryview:
        return self._of(limit.slot)

    def _of(self, slot: int) -> memoryview:
        return self._limits.setdefault(slot, self._cells.limit(self._index, slot))

    def retried(self, server: Server) -> None:
        """A request that this server failed goes to another, or to it on a fresh connection."""
        server.cells[ServerCell.RETRIES] += 1
        self._worker[WorkerCell.RETRIES] += 1

    def not_retried(self) -> None:
        """A request is not tried again because too many were."""
        self._worker[WorkerCell.RETRIES_REFUSED] += 1

    def dropped(self, lines: int) -> None:
        """Lines of the access log are lost."""
        self._worker[WorkerCell.LOG_DROPPED] += lines


_ALLOWED = int(LimitCell.ALLOWED)
_REFUSED = int(LimitCell.REFUSED)
_NEAR = int(LimitCell.NEAR)
_IN_FLIGHT = int(LimitCell.IN_FLIGHT)
