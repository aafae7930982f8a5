"""One connection to Redis, what waits for its answers, and what becomes of both when it fails.

What is asked in one turn of the event loop travels as one write; answers come in the order of the questions. A question
waits for the store's `deadline` at most. When one is overdue, or the connection breaks, or the store finds that Redis
cannot count, the breaker opens: what waits is left to the store, and a task tries to get a new connection, with growing
pauses. The connection that failed is given up, so its late answers reach nobody.
One timer stands for the oldest waiting question; there is none for each.
`redis.py` is the only one to build on this; what the questions are is its affair.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from functools import partial

from headgate.store import script
from headgate.store.breaker import Breaker, Event, State
from headgate.store.link import Link, LinkFailed
from headgate.store.place import Place, down
from headgate.store.resp import Reply
from headgate.store.stopwatch import Stopwatch
from headgate.store.vigil import vigil
from headgate.store.waiting import Waiting

logger = logging.getLogger("headgate.store")

_CONNECT = 2.0  # seconds for a connection with its opening
_SECOND_LOOK = 0.001


class Pipeline:
    """It belongs to one event loop and begins to connect as soon as that runs.

    reason: why Redis cannot be asked, "" while it can. Whoever asks something calls `_begin` unless `_flushing`, and
    appends to `_waiting` and `_out`.
    """

    def __init__(
        self,
        place: Place,
        deadline: float,
        loop: asyncio.AbstractEventLoop,
        *,
        on_change: Callable[[bool], None],
        on_time: Callable[[float], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """deadline: seconds for an answer. on_change: called with whether Redis is down, at each change.

        on_time: called with how long Redis took, for some of the questions (`stopwatch.py`). chance: from 0 to 1,
        spreads the attempts to reconnect.
        """
        self._place = place
        self._deadline = deadline
        self._loop = loop
        self._on_change = on_change
        self._chance = chance
        self._stopwatch = Stopwatch(on_time)
        self._breaker = Breaker()
        self._accepts = True  # the breaker's, kept here for the way of each request
        self.reason = ""
        self._logged = ""  # the reason that the log has of the present failure
        self._link: Link | None = None
        self._waiting: deque[Waiting] = deque()
        self._out: list[bytes] = []
        self._flushing = False
        self._now = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._overdue = -1.0  # when the question was asked that was found overdue last
        self._lost = asyncio.Event()
        self._task = loop.create_task(self._keep_open())

    # What the store does about it.

    def _replied(self, replies: list[Reply]) -> None:
        """Answers came, in the order of `_waiting`."""
        raise NotImplementedError

    def _leave(self, waiting: Waiting) -> None:
        """This will not be answered."""
        raise NotImplementedError

    def _came(self) -> None:
        """There is a connection: whatever is to be told first."""
        raise NotImplementedError

    def _went(self) -> None:
        """There is none any more."""
        raise NotImplementedError

    def _sign(self) -> None:
        """Time for a sign of life."""
        raise NotImplementedError

    # The way of a question.

    def _begin(self) -> None:
        """Sees to the questions of this turn of the loop, in which its clock stands still."""
        self._now = self._loop.time()
        if self._link is not None:
            self._flushing = True
            self._loop.call_soon(self._flush)
        self._await(self._now)

    def _await(self, asked: float) -> None:
        """Sees to it that somebody looks when a question that was asked then is overdue."""
        if self._timer is None:
            self._timer = self._loop.call_at(asked + self._deadline, self._look)

    def _flush(self) -> None:
        self._flushing = False
        if self._out and self._link is not None:
            self._stopwatch.sent(len(self._waiting))
            self._link.write(b"".join(self._out))
            self._out.clear()

    def _look(self) -> None:
        """Looks whether the oldest waiting question is overdue."""
        self._timer = None
        oldest = min((asked for _, _, asked, form in self._waiting if form != script.SIGN), default=None)
        if oldest is None:
            return
        if self._loop.time() < oldest + self._deadline:
            self._timer = self._loop.call_at(oldest + self._deadline, self._look)
        elif oldest > self._overdue:
            # The answer may lie in the socket, unread because this process itself was late: uvloop runs timers before
            # it reads. After one more turn it has been read.
            self._overdue = oldest
            self._timer = self._loop.call_later(_SECOND_LOOK, self._look)
        else:
            self._fail(f"no answer within {self._deadline * 1000:g} ms")

    # The connection and its failures.

    async def _keep_open(self) -> None:
        """Holds a connection as long as the store is open."""
        while True:
            try:
                async with asyncio.timeout(_CONNECT):
                    link = await self._place.open(self._loop)
            except LinkFailed as failure:
                self._fail(failure.reason, silent=failure.silent)
            except TimeoutError:
                self._fail(f"no answer within {_CONNECT:g} s", silent=True)
            else:
                self._opened(link)
                moved = partial(self._fail, "the master is another one now")
                await vigil(self._place, self._lost, self._loop, sign=self._sign, moved=moved)
            await asyncio.sleep(self._breaker.delay(self._chance()))

    def _opened(self, link: Link) -> None:
        was_down = self._breaker.state is State.DOWN
        self._breaker.note(Event.OPENED, self._loop.time())
        self._accepts = True
        self.reason = self._logged = ""
        self._lost.clear()
        self._link = link
        link.on_replies = self._replied
        link.on_lost = self._fail
        self._came()
        self._flush()
        if was_down:
            logger.info("limit store %s is back", self._place)
            self._on_change(False)

    def _fail(self, reason: str, *, silent: bool = False) -> None:
        """Opens the breaker and leaves what waits. silent: all that is known is that nobody answers."""
        was_down = self._breaker.state is State.DOWN
        self._breaker.note(Event.FAILED, self._loop.time())
        self.reason = reason
        # That nobody answers is no news of one that is down: a Redis that was killed would be told of twice, by the end
        # of its connection and by the refusal of the next. What it says itself is: a password it wants, say.
        if reason != self._logged and not (silent and was_down):
            self._logged = reason
            logger.warning("%s", down(self._place, reason))
        self._give_up()
        self._lost.set()
        if not was_down:
            self._on_change(True)

    def _give_up(self) -> None:
        self._accepts = False
        self._stopwatch.reset()
        self._went()
        if self._link is not None:
            self._link.abort()
            self._link = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._out.clear()
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            self._leave(one)

    def _end(self) -> None:
        """Gives up the connection for good."""
        if self._link is not None:
            self._flush()
            self._link.finish()
            self._link = None
        self._breaker.note(Event.CLOSE, self._loop.time())
        self._task.cancel()
        self._give_up()
