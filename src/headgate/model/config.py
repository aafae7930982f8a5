"""The configuration, complete and resolved: no default is missing, every name is defined, every override applied.

`control/config.py` makes one from TOML or flags and is the only place that knows the file's form. Durations are
seconds, sizes are bytes. The comment beside each field is its line in the reference (docs/configuration.md).
"""

from dataclasses import dataclass, field

from headgate.model.address import Address


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in a period of so many seconds: `100/minute`, `5/10s`. In no time (0): so many at once."""

    limit: int
    period: float

    def __str__(self) -> str:
        if not self.period:
            return f"{self.limit} in flight"
        names = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}
        return f"{self.limit}/{names.get(self.period) or f'{self.period:g}s'}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each thing is awaited. Set per installation, listener, upstream or route; the nearest wins."""

    request_head: float = 10.0  # from the first byte of a request (or the accept) to the end of its head
    request_body: float = 60.0  # between two reads of a request's body
    idle: float = 75.0  # between two requests of a client's connection
    queue: float = 5.0  # for a server that may take one more request
    connect: float = 3.0  # for a connection to a server
    response_head: float = 60.0  # from the end of the request to the end of the response's head
    response_body: float = 60.0  # between two reads of a response's body, or until a slow client takes some of it
    total: float = 0.0  # from a request's head to the end of its response, all attempts included; 0: no limit
    tunnel: float = 3600.0  # between two reads of an upgraded connection (WebSocket), from either side
    server_idle: float = 60.0  # how long an idle connection to a server is kept at the most; its own time is learned
    request_min_rate: int = 0  # bytes a second that a client must send of a request's body; 0: any
    response_min_rate: int = 0  # bytes a second that a client must take of a response while some waits for it; 0: any
    min_rate_window: float = 10.0  # what the two are averaged over, one window after the other


@dataclass(frozen=True, slots=True)
class Heads:
    """What a request's head may have."""

    max_size: int = 32768  # bytes of the whole head; 431 beyond
    max_fields: int = 100  # fields; 431 beyond
    max_target: int = 8192  # bytes of the request line; 414 beyond
    underscores: str = "drop"  # fields with an underscore in the name, which WSGI and CGI take for a hyphen
    non_ascii: str = "pass"  # bytes beyond ASCII in a field's value, which each server reads in its own way
    trace: bool = False  # TRACE is passed on; it shows what a server was sent, cookies included; 501 otherwise


@dataclass(frozen=True, slots=True)
class Connections:
    """How many client connections each worker has at the most."""

    max: int = 0  # 0: half of the descriptors that the worker may open
    max_per_client: int = 0  # of one address, or IPv6 /64; one more is closed at once. 0: any. Trusted proxies: any


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that clients connect to."""

    address: Address  # host:port, [host]:port or unix:/path; port 0 lets the system choose
    timeouts: Timeouts = Timeouts()  # those that differ here: request_head, idle
    limits: tuple[str, ...] = ()  # names of limits that each of its requests must pass, beside those of its route


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A periodic HTTP GET to each server of an upstream."""

    path: str = "/"  # the target of the request
    interval: float = 2.0  # from one probe to the next
    timeout: float = 1.0  # for the whole probe
    rise: int = 2  # passes in a row that bring a server back
    fall: int = 3  # failures in a row that take a server out
    status: tuple[tuple[int, int], ...] = ((200, 399),)  # status codes that pass, as ranges
    host: str = ""  # the Host field; the server's address when empty


@dataclass(frozen=True, slots=True)
class Ejection:
    """Leaving a server alone after failures that the data path saw."""

    failures: int = 3  # failures in a row; 0 turns ejection off
    base: float = 10.0  # for how long


@dataclass(frozen=True, slots=True)
class Server:
    """A member of an upstream."""

    address: Address  # host:port, [host]:port or unix:/path
    weight: int = 1  # its share of the requests relative to the others; 0 takes none
    max_requests: int = 0  # requests that it has at once, of all workers; 0: those of its upstream


@dataclass(frozen=True, slots=True)
class Upstream:
    """A group of servers that can each answer the same requests."""

    name: str
    servers: tuple[Server, ...]  # may be empty: servers can be added at run time
    policy: str = "round_robin"  # how requests are spread over the servers
    max_requests: int = 0  # requests that each server has at once, of all workers; 0: no limit
    queue: int = 1000  # requests that wait in each worker while all servers have as many as they may; 503 beyond
    health_check: HealthCheck | None = None  # leave it out for no probes
    ejection: Ejection = Ejection()  # when the data path leaves a server alone
    timeouts: Timeouts = Timeouts()  # those that differ here, all but request_head and idle
    limits: tuple[str, ...] = ()  # names of limits that each of its requests must pass, beside those of its route


@dataclass(frozen=True, slots=True)
class Ban:
    """What becomes of a client that goes on although it is refused."""

    refusals: int  # after so many refusals ...
    within: float  # ... in such a time ...
    period: float  # ... all of its requests under the limit are refused for so long


@dataclass(frozen=True, slots=True)
class Tier:
    """What some keys have in place of the rate of a limit: a plan that is sold, say."""

    rate: Rate | None  # so many requests in a period, or any number of them; None: any number
    burst: int = 0  # with `gcra`: requests that pass at once, before the steady rate; 0: as many as the rate's


Override = str | Tier  # the name of a tier, or one of its own


@dataclass(frozen=True, slots=True)
class OnError:
    """What is used in place of what a function of Python says, when it fails, takes too long or says nonsense."""

    key: str = "client_ip"  # what the request is counted by
    limit: Rate | None = None  # its rate; leave it out for the limit's own
    cost: int = 1  # how many requests it counts for; 0: it is not counted
    exempt: bool = False  # whether the limit is not for it


@dataclass(frozen=True, slots=True)
class Python:
    """How the functions of Python that a limit names are called."""

    timeout: float = 0.05  # how long a request waits for each that is async
    cache: float = 0.0  # how long what one said is used again, for requests with the same `cache_by`; not for `settle`
    cache_by: str = ""  # what these requests have in common, written like a key
    on_error: OnError = OnError()  # what is used in place of what one says


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests per key and period, or at once."""

    name: str
    rate: Rate  # so many requests in a period; with `concurrency` so many at once, in a period of 0
    key: str = "client_ip"  # what is counted by, several with commas; see docs/limits.md
    algorithm: str = "fixed_window"  # how requests are counted; see docs/limits.md
    burst: int = 0  # with `gcra`: requests that pass at once, before the steady rate; 0: as many as the rate's
    on_store_error: str = "local"  # while Redis fails: let all pass, refuse all (503), or count a share on this machine
    exempt: tuple[str, ...] = ()  # networks and addresses of clients that it is not for
    headers: str = "refused"  # which responses tell a client what is left of the limit (RateLimit, RateLimit-Policy)
    legacy_headers: bool = False  # where these are sent: X-RateLimit-Limit, -Remaining and -Reset (in seconds) too
    private: bool = False  # its keys leave the process only as hashes, made with `store.secret`
    dry_run: bool = False  # it is counted, and what it would refuse passes
    cost: int = 1  # how many requests one of them counts for
    count_refused: bool = False  # refused requests count too: who goes on is refused until he has been quiet
    delay: float = 0.0  # with `gcra`: how long a request is held back before one is refused
    lease: int = 1  # with `fixed_window` in Redis: places that a worker takes at once; see docs/limits.md for its price
    limit: str = ""  # a function that says the rate for each request; "": the rate as it is
    cost_of: str = ""
    exempt_by: str = ""
    python: Python = Python()  # how the functions are called that it names
    settle: str = ""  # what a request really cost, known when it is over; "": what was taken; see docs/limits.md
    ban: Ban | None = None  # refuses all of a client that goes on after so many refusals; leave it out for none
    overrides: dict[str, Override] = field(
        default_factory=dict, hash=False
    )  # keys that have a tier or a rate of their own

    @property
    def at_once(self) -> int:
        """The most requests that can pass at once."""
        return self.burst or self.rate.limit

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that requests may have under it: what it counts by, and what its functions go by."""
        return self.key, self.python.cache_by, self.python.on_error.key

    @property
    def functions(self) -> dict[str, str]:
        """The functions of Python that it asks, as `module:name`, by the setting that names them."""
        said = {
            "exempt": self.exempt_by,
            "key": self.key,
            "limit": self.limit,
            "cost": self.cost_of,
            "settle": self.settle,
        }
        return {key: text.removeprefix(PYTHON) for key, text in said.items() if text.startswith(PYTHON)}


@dataclass(frozen=True, slots=True)
class JwtKey:
    """A key that tokens are signed with, as a JSON Web Key (RFC 7517)."""

    jwk: str = field(repr=False)
    algorithms: tuple[str, ...]  # what it may be used with


@dataclass(frozen=True, slots=True)
class Jwt:
    """Which bearer tokens are good, for limits that count by their claims (`jwt:CLAIM`)."""

    algorithms: tuple[str, ...]  # how tokens are signed; no others are looked at
    keys: tuple[JwtKey, ...]
    issuer: tuple[str, ...] = ()  # who may have made a token (`iss`), one or several; everybody where it is left out
    audience: tuple[str, ...] = ()  # whom it may be for (`aud`), one or several; everybody where it is left out
    leeway: float = 0.0  # by how much the issuer's clock may be ahead or behind


@dataclass(frozen=True, slots=True)
class Retry:
    """When a request that may be sent twice goes to another server. Where no connection can be made it always does."""

    on: tuple[str | int, ...] = ("reset", "timeout", "malformed")  # failures of a server, and statuses it answers with
    attempts: int = 3  # how often a request is sent at the most; 1: never again
    budget: int = 20  # retries in percent of the requests of the last 10 seconds; 3 a second are always allowed


@dataclass(frozen=True, slots=True)
class Route:
    """Which requests go to which upstream under which limits. The longest match wins; a host beats no host."""

    upstream: str  # the name of an upstream
    host: str = ""  # lower case, without port; "" matches every host
    path: str = "/"  # a prefix of whole segments: /api matches /api and /api/x, not /apix
    limits: tuple[str, ...] = ()  # names of limits; a request must pass all, with those of its listener and upstream
    upgrades: tuple[str, ...] = ("*",)  # protocols that a connection may become; "*": all but other versions of HTTP
    retry: Retry = Retry()  # when a request that a server failed goes to another
    on_client_gone: float = 0.0  # the request is cancelled, finished all the same, or finished within a time
    timeouts: Timeouts = Timeouts()  # those that differ here, all but request_head and idle


@dataclass(frozen=True, slots=True)
class Store:
    """Where limits are counted: on this machine, or in Redis for every Headgate that names the same one."""

    url: str = field(default="", repr=False)  # where the Redis is; "" keeps limits on this machine
    deadline: float = 0.05  # how long a request waits for Redis before `on_store_error` decides
    prefix: str = "headgate"  # the first part of every key in Redis
    secret: str = field(default="", repr=False)  # hashes the keys of private limits; needed for these in Redis


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin API, the metrics and the health of Headgate itself."""

    listen: Address | None = Address("127.0.0.1", 9000)  # None: no admin API
    token: str = field(default="", repr=False)  # required when the address is not of this machine alone


UNLIMITED = "unlimited"  # the rate of a tier that has none
PYTHON = "python:"  # how a setting begins that names a function
LOG_MODE = 0o640  # of a new access log: it has addresses in it


@dataclass(frozen=True, slots=True)
class AccessLog:
    """One line for each request."""

    format: str = "text"  # "text" or "json"
    path: str = "-"  # a file, or "-" for standard output


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a user can set."""

    listeners: tuple[Listener, ...]
    upstreams: tuple[Upstream, ...]
    routes: tuple[Route, ...]
    limits: tuple[Limit, ...] = ()
    tiers: dict[str, Tier] = field(default_factory=dict)  # by name
    workers: int = 0  # 0: one for each core
    heads: Heads = Heads()
    connections: Connections = Connections()
    store: Store = Store()
    jwt: Jwt | None = None
    admin: Admin = Admin()
    access_log: AccessLog | None = None
    trusted_proxies: tuple[str, ...] = ()  # networks in CIDR form whose X-Forwarded-* are believed
    state_file: str = ""  # where changes made at run time are kept; "" keeps them until the stop
    python_path: tuple[str, ...] = ()  # folders with modules of yours, beside the folder of this file
    modules: tuple[tuple[str, str], ...] = ()  # those that functions are in, and what tells their versions apart
    drain: float = field(default=30.0)  # how long a stop waits for requests in flight
