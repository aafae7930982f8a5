"""Small configurations for the tests of the control plane."""

from dataclasses import replace

from headgate.model.address import Address
from headgate.model.config import Admin, Config, HealthCheck, Limit, Listener, Rate, Route, Server, Upstream

CHECK = HealthCheck(path="/health", interval=2.0, rise=2, fall=3)
A, B, C, D = (Address("10.0.0.1", port) for port in (1, 2, 3, 4))


def upstream(name: str, *servers: Address, check: HealthCheck | None = CHECK) -> Upstream:
    return Upstream(name, tuple(Server(address) for address in servers), health_check=check)


def config(*upstreams: Upstream, limits: tuple[str, ...] = ()) -> Config:
    """A configuration with these upstreams, `web` with servers A and B when none is given."""
    upstreams = upstreams or (upstream("web", A, B),)
    return Config(
        listeners=(Listener(Address("127.0.0.1", 0)),),
        upstreams=upstreams,
        routes=tuple(Route(group.name, path=f"/{group.name}") for group in upstreams),
        limits=tuple(Limit(name, Rate(10, 60.0)) for name in limits),
        admin=Admin(None),
        workers=2,
        drain=30.0,
    )


def with_listeners(base: Config, *addresses: Address) -> Config:
    return replace(base, listeners=tuple(Listener(address) for address in addresses))
