"""Whether a server takes requests, derived from its axes wherever it is shown; the worker's `choose` applies the same.

Nothing stores the answer: a stored "available" is what goes stale when one axis changes and another does not.
"""

from headgate.model.server import Mode, Probe, ServerState


def is_admitted(server: ServerState) -> bool:
    """Whether the operator wants it to take requests and the prober does not say that it is down."""
    return server.mode is Mode.READY and server.probe is not Probe.DOWN and server.weight > 0


def is_available(server: ServerState, ejected_for: float) -> bool:
    """Whether it gets requests now. ejected_for: for how many more seconds the workers leave it alone, 0 for none."""
    return is_admitted(server) and ejected_for <= 0
