"""What is known of one server: two axes that the control plane owns, and the server's place in the shared cells.

The axes are independent (HAProxy keeps them apart for the same reason): what the operator wants, and what the prober
saw. A third, until when the data path leaves the server alone, belongs to each worker. Whether a server is available
is derived from the three and stored nowhere.
"""

from dataclasses import dataclass
from enum import Enum

from headgate.model.address import Address


class Mode(Enum):
    """What the operator wants of a server."""

    READY = "ready"  # takes requests
    DRAIN = "drain"  # finishes what it has, takes nothing new
    MAINT = "maint"  # takes nothing and is not probed


class Probe(Enum):
    """What the prober saw."""

    UNKNOWN = "unknown"  # not probed yet, or no health check: taken for up
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server of an upstream as the workers are told of it.

    slot: the server's index in the shared cells. It names the server for as long as the supervisor runs: live objects
    of a worker are carried from one snapshot to the next by it.
    weight: its share of the requests relative to the others, 1 to 256; 0 takes no requests.
    max_requests: how many it has at once, 0 for no limit.
    """

    address: Address
    slot: int
    weight: int = 1
    mode: Mode = Mode.READY
    probe: Probe = Probe.UNKNOWN
    max_requests: int = 0
