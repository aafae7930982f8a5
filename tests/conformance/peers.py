"""The proxies side by side: those of the benchmark, with the benchmark's configurations, each before its own server."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks import proxies
from benchmarks.cpu import Cores, find_cores
from benchmarks.proxies import HAPROXY, HEADGATE, NGINX, Proxy
from benchmarks.scenarios import SCENARIOS, Case
from benchmarks.stage import Stage, free_ports

COLUMNS = (HEADGATE, NGINX, HAPROXY)


@contextmanager
def running(proxy: Proxy, servers: Sequence[int]) -> Iterator[list[int]]:
    """So many starts of the proxy as there are servers, each before one of them; their ports. Raises StartFailed."""
    cores = find_cores()
    everywhere = Cores(cores.proxy | cores.load, cores.proxy | cores.load)
    with ExitStack() as stages:
        ports = free_ports(len(servers))
        for port, server in zip(ports, servers, strict=True):
            stage = stages.enter_context(Stage(everywhere))
            case = Case(port, [server], SCENARIOS[0])
            stage.start(proxy.name, proxy.command(stage, case), [port], cores=everywhere.proxy)
        yield ports


def title(proxy: Proxy) -> str:
    """Its name and version."""
    return f"{proxy.title} {proxies.version(proxy)}".strip()
