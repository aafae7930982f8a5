from headgate.store.stopwatch import Stopwatch


class Race:
    """A stopwatch on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.times: list[float] = []
        self.watch = Stopwatch(self.times.append, lambda: self.now)


def test_a_batch_is_timed_until_its_last_answer() -> None:
    race = Race()
    race.watch.sent(3)
    race.now = 1.0
    race.watch.answered(2)
    assert race.times == []
    race.now = 3.0
    race.watch.answered(1)
    assert race.times == [3.0]
    race.watch.answered(1)
    assert race.times == [3.0]


def test_what_is_sent_meanwhile_is_not_timed() -> None:
    race = Race()
    race.watch.sent(1)
    race.now = 1.0
    race.watch.sent(5)
    race.now = 2.0
    race.watch.answered(3)  # two of them to the second batch
    assert race.times == [2.0]
    race.watch.sent(3)
    race.now = 5.0
    race.watch.answered(3)
    assert race.times == [2.0, 3.0]


def test_a_lost_connection_is_no_time() -> None:
    race = Race()
    race.watch.sent(1)
    race.watch.reset()
    race.watch.answered(1)
    race.now = 7.0
    race.watch.sent(1)
    race.now = 8.0
    race.watch.answered(1)
    assert race.times == [1.0]
