"""One scenario measured: every proxy started, proved to do its work, warmed, and loaded in turn, round after round.

Interleaving is the point: what else the machine does in a minute falls on all of them alike, and the ratio to nginx is
taken within each round. All start anew for each round: two processes of the same code, of Python above all, differ by
some per cent in how their memory lies, and what is to be told of the code must not be told of one of them. A round in
which a request failed still counts as measured, and its errors go into the report.
"""

import contextlib
import http.client
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import cpu, load
from benchmarks.nginx import BODY
from benchmarks.proxies import Proxy
from benchmarks.scenarios import Case, Scenario
from benchmarks.stage import Stage, free_ports


class NotAlike(Exception):
    """A proxy does not do what the others do: comparing it would be unfair to one of them."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one proxy did in one round.

    cpu: microseconds of its process tree per request; busy: the share of its core that it used; p50, p99: microseconds;
    store: microseconds of Redis per request; asked: scripts that Redis ran per request.
    """

    cpu: float
    busy: float
    rate: float
    p50: float
    p99: float
    requests: int
    refused: int
    failed: int
    store: float = 0.0
    asked: float = 0.0


@dataclass(frozen=True, slots=True)
class Redis:
    """The Redis of a scenario."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy at work on a case."""

    proxy: Proxy
    case: Case
    process: subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. seconds: of each round; progress: told each line as it happens."""

    rounds: int
    seconds: int
    progress: Callable[[str], None]


def measure(
    stage: Stage, scenario: Scenario, proxies: Sequence[Proxy], servers: Sequence[int], redis: Redis | None, plan: Plan
) -> dict[str, list[Round]]:
    """For each proxy's name its rounds. redis: where the scenario counts in one."""
    rounds: dict[str, list[Round]] = {proxy.name: [] for proxy in proxies}
    port = redis.port if redis else 0
    for number in range(plan.rounds):
        if redis:
            _call(redis.port, b"FLUSHALL\r\n")  # where all is refused, some must pass first
        with Stage(stage.cores) as own:
            running = [start(own, proxy, Case(_port(), servers, scenario, port)) for proxy in proxies]
            for each in running:
                load.run(own, scenario, each.case.port, 1)
            # Each begins a round once in a while: nobody always follows the same neighbour.
            first = number % len(running)
            for each in running[first:] + running[:first]:
                rounds[each.proxy.name].append(once(own, scenario, each, plan.seconds, redis))
            took = ", ".join(f"{name} {done[-1].cpu:.1f} us" for name, done in rounds.items())
            plan.progress(f"  {scenario.title}, round {number + 1} of {plan.rounds}: {took}")
    return rounds


def start(stage: Stage, proxy: Proxy, case: Case) -> Running:
    """The proxy, started on its core and proved to work. Raises StartFailed or NotAlike."""
    process = stage.start(proxy.name, proxy.command(stage, case), [case.port], cores=stage.cores.proxy)
    prove(proxy.title, case)
    return Running(proxy, case, process)


def questions(running: Running, scenario: Scenario) -> float:
    """Scripts that Redis runs for a request: for Headgate a second one gives back what was in flight."""
    if running.proxy.name == "nginx":
        return 1
    return 2 if scenario.algorithm == "concurrency" else 1 / scenario.lease


def once(stage: Stage, scenario: Scenario, running: Running, seconds: int, redis: Redis | None) -> Round:
    """One round of load on one proxy."""
    case = running.case
    counted = redis_calls(case.redis) if case.redis else 0
    store = cpu.read(redis.pid) if redis else None
    before = cpu.read(running.process.pid)
    answered = load.run(stage, scenario, case.port, seconds)
    spent = cpu.read(running.process.pid).since(before)
    kept = cpu.read(redis.pid).since(store).cpu if redis and store else 0.0
    asked = redis_calls(case.redis) - counted if case.redis else 0
    # A proxy that decided without Redis, because a breaker opened or a cache answered, has done another work.
    # A refusal may be known without asking, and a lease asks for many: the table of limits shows how often it was.
    expected = answered.requests * questions(running, scenario)
    if case.redis and not scenario.refused and not 0.99 * expected <= asked <= 1.02 * expected:
        raise NotAlike(f"{running.proxy.title} asked Redis {asked} times for {answered.requests} requests")
    # limit_req has no slower rate than one a minute: where all is to be refused, that one may pass.
    return Round(
        cpu=spent.cpu / answered.requests * 1e6,
        busy=spent.cpu / spent.elapsed,
        rate=answered.requests / answered.seconds,
        p50=answered.p50,
        p99=answered.p99,
        requests=answered.requests,
        refused=max(0, answered.refused - 1 - seconds // 60) if scenario.refused else answered.refused,
        failed=answered.failed,
        store=kept / answered.requests * 1e6,
        asked=asked / answered.requests,
    )


def prove(title: str, case: Case) -> None:
    """Raises NotAlike unless the proxy goes round all servers, adds to each request what all of them add, and passes on
    such bodies as the scenario has.
    """
    added = ("X-Forwarded-For", "X-Forwarded-Proto", "Via", "X-Request-ID")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", case.port, timeout=5)) as connection:
        answers = [_ask(connection, title, "GET", "/seen").split(b"|") for _ in range(2 * len(case.servers))]
        if case.scenario.refused:
            _ask(connection, title, "GET", "/seen", expected=429)
        for _ in range(2 * case.large):
            if case.scenario.load == "upload":
                _ask(connection, title, "POST", "/upload", bytes(BODY))
            elif len(_ask(connection, title, "GET", "/file")) != BODY:
                raise NotAlike(f"{title} does not pass on a body of {BODY} bytes")
    for answer in answers:
        if missing := [name for name, value in zip(added, answer[1:], strict=True) if not value]:
            raise NotAlike(f"{title} does not add {', '.join(missing)} to a request")
    if (ports := {answer[0] for answer in answers}) != {b"%d" % port for port in case.servers}:
        raise NotAlike(f"{title} sent {len(answers)} requests to {len(ports)} of {len(case.servers)} servers")
    if len({answer[4] for answer in answers}) != len(answers):
        raise NotAlike(f"{title} gives two requests the same id")


def _ask(
    connection: http.client.HTTPConnection,
    title: str,
    method: str,
    target: str,
    body: bytes | None = None,
    *,
    expected: int = 200,
) -> bytes:
    try:
        connection.request(method, target, body)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotAlike(f"{title} does not answer {method} {target}: {error!r}") from error
    if response.status != expected:
        raise NotAlike(f"{title} answers {method} {target} with {response.status}: {answer[:200]!r}")
    return answer


def redis_calls(port: int) -> int:
    """How many scripts this Redis has run so far."""
    return count_scripts(_call(port, b"INFO commandstats\r\n"))


def _call(port: int, command: bytes) -> str:
    """What Redis says to this."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile("rb") as answers:
        connection.sendall(command)
        line = answers.readline()
        return answers.read(int(line[1:])).decode() if line.startswith(b"$") else line.decode()


def count_scripts(text: str) -> int:
    """The calls of EVALSHA and EVAL (their functions and read-only forms too) in the answer to INFO commandstats."""
    calls = 0
    for line in text.splitlines():
        name, _, figures = line.partition(":calls=")
        if name.startswith(("cmdstat_eval", "cmdstat_fcall")):
            calls += int(figures.partition(",")[0])
    return calls


def _port() -> int:
    return free_ports(1)[0]
