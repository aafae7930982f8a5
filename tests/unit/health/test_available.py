import itertools

import pytest

from headgate.health.available import is_admitted, is_available
from headgate.model.address import Address
from headgate.model.server import Mode, Probe, ServerState


def server(mode: Mode = Mode.READY, probe: Probe = Probe.UP, weight: int = 1) -> ServerState:
    return ServerState(Address("127.0.0.1", 80), 0, weight, mode, probe)


@pytest.mark.parametrize(("mode", "probe"), list(itertools.product(Mode, Probe)))
def test_a_server_takes_requests_when_it_is_ready_and_not_known_to_be_down(mode: Mode, probe: Probe) -> None:
    assert is_admitted(server(mode, probe)) is (mode is Mode.READY and probe is not Probe.DOWN)


def test_a_server_of_weight_0_takes_none() -> None:
    assert not is_admitted(server(weight=0))


def test_an_ejected_server_is_not_available_until_its_time_is_over() -> None:
    assert is_available(server(), 0.0)
    assert not is_available(server(), 0.1)
    assert not is_available(server(Mode.DRAIN), 0.0)
