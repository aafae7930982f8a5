"""A server that fails costs the client nothing where another can answer, and nothing is done twice that must not be."""

from dataclasses import replace

import pytest

from headgate.balance.budget import FLOOR, WINDOW
from headgate.model.config import Retry
from headgate.wire.cells import ServerCell, WorkerCell
from tests.exchange.kit import TIMEOUTS, Make, World, forwarded, get, ok, post


@pytest.mark.parametrize("request_", [get(), post(b"body"), post(b"body")[:-2]], ids=["GET", "POST", "half a POST"])
def test_a_refused_connection_goes_to_the_next_server_whatever_the_request(make: Make, request_: bytes) -> None:
    world = make(3)
    world.refusing = {"s1:80", "s2:80"}
    client = world.client()
    client.sends(request_)
    assert world.tried == ["s1:80", "s2:80", "s3:80"]
    server = world.accepted()
    server.sees(forwarded(request_))
    if request_.endswith(b"bo"):
        client.sends(b"dy")
        server.sees(b"dy")
    server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    assert world.server_cell(ServerCell.CONNECT_FAILURES, 0) == world.server_cell(ServerCell.RETRIES, 0) == 1
    assert world.worker_cell(WorkerCell.RETRIES) == 2
    assert world.responses(2, slot=2) == 1


def test_when_all_refuse_each_is_asked_once_and_it_is_502(make: Make) -> None:
    world = make(3)
    world.refusing = {"s1:80", "s2:80", "s3:80"}
    client = world.client()
    client.sends(post(b"body"))
    assert sorted(world.tried) == ["s1:80", "s2:80", "s3:80"]
    client.sees_answer(502)
    assert world.flagged("UF") == 1
    assert client.end == ""
    world.refusing = set()
    client.sends(get())
    world.accepted().sends(ok())
    client.sees(ok())


def test_a_fresh_connection_that_dies_sends_a_get_to_another_server(make: Make) -> None:
    world = make(2)
    client = world.client()
    client.sends(get())
    world.accepted().closes()
    server = world.accepted()
    assert server.name == "s2:80"
    server.sees(forwarded(get()))
    server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    assert world.server_cell(ServerCell.RESETS, 0) == 1


def test_a_server_that_resets_everything_is_asked_once_and_it_is_502(world: World) -> None:
    client = world.client()
    client.sends(get())
    world.accepted().resets()
    client.sees_answer(502)
    assert world.tried == ["s1:80"]
    assert world.flagged("UC") == 1


def test_a_request_is_sent_three_times_at_the_most(make: Make) -> None:
    world = make(5)
    client = world.client()
    client.sends(get())
    for _ in range(3):
        world.accepted().resets()
    client.sees_answer(502)
    assert world.tried == ["s1:80", "s2:80", "s3:80"]


def test_refused_connections_do_not_count_as_sent(make: Make) -> None:
    world = make(6)
    world.refusing = {"s1:80", "s3:80", "s5:80"}
    client = world.client()
    client.sends(get())
    world.accepted().resets()
    world.accepted().resets()
    assert world.tried == ["s1:80", "s2:80", "s3:80", "s4:80", "s5:80", "s6:80"]
    world.accepted().sends(ok())
    client.sees(ok())


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
def test_a_reused_connection_that_dies_is_replaced_by_a_fresh_one_to_the_same_server(
    world: World, method: bytes, how: str
) -> None:
    stale, other = world.warm(), world.idle_too()
    client = world.client()
    client.sends(get(method=method))
    used = next(peer for peer in (stale, other) if peer.new())
    getattr(used, how)()
    fresh = world.accepted()
    # Not on the other idle one: if one was too old, so are all.
    fresh.sees(forwarded(get(method=method), 4))
    fresh.sends(ok())
    client.sees(ok())
    assert world.server_cell(ServerCell.RESETS) == 0
    assert world.server_cell(ServerCell.RETRIES) == 1


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"UNKNOWN", b"get"])
def test_what_may_have_been_done_is_not_sent_twice(make: Make, method: bytes) -> None:
    world = make(2)
    server = world.warm()
    client = world.client()
    client.sends(get(method=method), b"")
    second = world.accepted()
    second.sees(forwarded(get(method=method), 2))
    second.resets()
    client.sees_answer(502)
    assert world.tried == ["s1:80", "s2:80"]
    assert not world.accepts
    server.sees_nothing()
    assert world.flagged("UC") == 1


def test_a_post_on_a_reused_connection_that_dies_is_not_sent_twice(world: World) -> None:
    server = world.warm()
    client = world.client()
    client.sends(post(b"body"))
    server.sees(forwarded(post(b"body"), 2))
    server.closes()
    client.sees_answer(502)
    assert world.tried == ["s1:80"]


def test_a_body_that_came_whole_is_sent_again_with_its_head(make: Make) -> None:
    world = make(2)
    client = world.client()
    put = post(b"body", method=b"PUT")
    client.sends(put)
    world.accepted().resets()
    server = world.accepted()
    server.sees(forwarded(put))
    server.sends(ok())
    client.sees(ok())


def test_a_body_that_came_while_connecting_is_sent_again_too(make: Make) -> None:
    world = make(2)
    world.holds_connects = True
    put = post(b"body", method=b"PUT")
    client = world.client()
    client.sends(put[:-2])
    client.protocol.data_received(put[-2:])  # a read that was under way when reading was paused
    world.attempts[0].succeed().resets()
    world.attempts[1].succeed().sees(forwarded(put))


def test_the_rest_of_a_body_goes_only_to_the_second_server(make: Make) -> None:
    world = make(2)
    put = post(b"body", method=b"PUT")
    client = world.client()
    client.sends(put[:-2])
    first = world.accepted()
    first.sees(forwarded(put[:-2]))
    first.resets()
    second = world.accepted()
    second.sees(forwarded(put[:-2]))
    client.sends(put[-2:])
    second.sees(put[-2:])
    second.sends(ok())
    client.sees(ok())


def test_a_body_that_was_streamed_is_not_sent_again(make: Make) -> None:
    world = make(2)
    put = post(b"body", method=b"PUT")
    client = world.client()
    client.sends(put[:-2], put[-2:])
    first = world.accepted()
    first.sees(forwarded(put))
    first.resets()
    client.sees_answer(502)
    assert not world.accepts


def test_nothing_is_sent_again_once_the_client_saw_a_byte_of_the_response(make: Make) -> None:
    world = make(2)
    client = world.client()
    client.sends(get())
    first = world.accepted()
    first.sends(ok(b"0123456789")[:-1])
    first.resets()
    assert client.end == "closed"
    assert world.tried == ["s1:80"]
    assert world.worker_cell(WorkerCell.RETRIES) == 0


@pytest.mark.parametrize("reused", [False, True])
def test_part_of_a_head_is_not_what_an_idle_connection_that_closes_says(make: Make, reused: bool) -> None:
    world = make(2)
    first = world.warm() if reused else None
    if reused:
        world.client().sends(get(b"/other"))  # the other server's turn
    client = world.client()
    client.sends(get())
    first = first or world.accepted()
    first.sends(b"HTTP/1.1 200 O")
    first.closes()
    assert world.server_cell(ServerCell.RESETS, 0) == 1
    assert world.tried[-1] == "s2:80"


def test_a_malformed_response_to_a_get_sends_it_to_another_server(make: Make) -> None:
    world = make(2)
    client = world.client()
    client.sends(get())
    world.accepted().sends(b"nonsense\r\n")
    world.accepted().sends(ok(b"1"))
    client.sees(ok(b"1"))
    assert world.server_cell(ServerCell.BAD_RESPONSES, 0) == 1


def test_the_connection_a_retry_left_behind_has_no_say_any_more(make: Make) -> None:
    world = make(
        2,
    )
    client = world.client()
    client.sends(get())
    first = world.accepted()
    world.advance(31)
    second = world.accepted()
    assert first.end == "reset"
    first.connection.data_received(ok(b"late"))
    client.sees_nothing()
    second.sends(ok(b"1"))
    client.sees(ok(b"1"))


def ruled(world: World, retry: Retry, total: float = 0.0) -> World:
    """The same world, with this rule for its route."""
    (route,) = world.snapshot.routes
    timeouts = replace(TIMEOUTS, total=total)
    world.adopt(replace(world.snapshot, version=2, routes=(replace(route, retry=retry, timeouts=timeouts),)))
    return world


UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"


def test_a_status_that_the_route_names_sends_the_request_to_another_server(make: Make) -> None:
    world = ruled(make(2), Retry(on=(503,)))
    client = world.client()
    client.sends(get())
    first = world.accepted()
    first.sends(UNAVAILABLE)
    assert first.end == "reset"
    second = world.accepted()
    assert second.name == "s2:80"
    second.sees(forwarded(get()))
    second.sends(ok(b"1"))
    client.sees(ok(b"1"))
    assert world.server_cell(ServerCell.RETRIES, 0) == 1
    assert world.server_cell(ServerCell.RESETS, 0) == 0


def test_the_answer_of_the_last_server_is_the_clients_whatever_its_status(make: Make) -> None:
    world = ruled(make(2), Retry(on=(503,)))
    client = world.client()
    client.sends(get())
    for _ in range(2):
        world.accepted().sends(UNAVAILABLE)
    client.sees(UNAVAILABLE)
    assert len(world.tried) == 2


@pytest.mark.parametrize("request_", [post(b"x"), post(b"xy")[:-1].replace(b"POST", b"PUT")], ids=["POST", "half PUT"])
def test_an_unwanted_status_is_the_clients_where_nothing_may_be_sent_twice(make: Make, request_: bytes) -> None:
    world = ruled(make(2), Retry(on=(503,)))
    client = world.client()
    client.sends(request_)
    world.accepted().sends(UNAVAILABLE)
    assert b" 503 " in client.new()
    assert len(world.tried) == 1


def test_a_failure_that_the_route_does_not_name_is_502_at_once(make: Make) -> None:
    world = ruled(make(2), Retry(on=("timeout",)))
    client = world.client()
    client.sends(get())
    world.accepted().resets()
    client.sees_answer(502)
    assert len(world.tried) == 1


def test_when_everything_fails_the_budget_ends_the_retries(make: Make) -> None:
    world = ruled(make(2), Retry())
    most = int(FLOOR * WINDOW)
    for _ in range(2 * most):
        client = world.client()
        client.sends(get())
        while world.accepts:
            world.accepted().resets()
        client.sees_answer(502)
    retries = world.worker_cell(WorkerCell.RETRIES)
    assert most <= retries <= most + 2 * most * 0.2
    assert world.worker_cell(WorkerCell.RETRIES_REFUSED) == 2 * most - retries
    assert len(world.tried) == 2 * most + retries


def test_a_new_snapshot_does_not_fill_the_budget_again(make: Make) -> None:
    world = ruled(make(2), Retry(budget=0))
    for number in range(int(FLOOR * WINDOW) + 1):
        client = world.client()
        client.sends(get())
        while world.accepts:
            world.accepted().resets()
        world.adopt(replace(world.snapshot, version=3 + number))
    assert world.worker_cell(WorkerCell.RETRIES_REFUSED) == 1


def test_all_attempts_together_end_in_their_time(make: Make) -> None:
    world = ruled(make(3), Retry(), total=50)
    client = world.client()
    client.sends(get())
    first = world.accepted()
    world.advance(31)  # 30 s are the first server's; another has the rest
    assert first.end == "reset"
    second = world.accepted()
    world.advance(18)
    client.sees_nothing()
    world.advance(2)
    client.sees_answer(504)
    assert second.end == "reset"
    assert world.flagged("UT") == 1
    assert world.server_cell(ServerCell.TIMEOUTS, 1) == 0


def test_a_response_that_takes_longer_than_all_may_is_cut(make: Make) -> None:
    world = ruled(make(), Retry(), total=50)
    client = world.client()
    client.sends(get())
    server = world.accepted()
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(4):
        world.advance(12)
        server.sends(b"x")
    assert client.end == ""
    world.advance(3)
    assert client.end == "closed"
    assert world.flagged("UT") == 1


def test_all_the_time_counts_while_the_connection_is_made(make: Make) -> None:
    world = ruled(make(), Retry(), total=2)
    world.holds_connects = True
    client = world.client()
    client.sends(get())
    world.advance(2.5)
    client.sees_answer(504)
    assert world.attempts[0].cancelled
