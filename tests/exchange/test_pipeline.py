"""Requests sent ahead: answered in order, without recursion, in bounded memory, not for a client that never reads."""

import pytest

from tests.exchange.kit import LIMIT, Make, SlowStore, World, chunked, forwarded, get, ok, post


def test_requests_sent_ahead_go_out_one_at_a_time_and_are_answered_in_order(world: World) -> None:
    client = world.client()
    client.sends(get(b"/1") + get(b"/2") + get(b"/3"))
    server = world.accepted()
    for number in (1, 2, 3):
        server.sees(forwarded(get(b"/%d" % number), number))
        assert world.in_flight() == 1
        server.sends(ok(b"%d" % number))
        client.sees(ok(b"%d" % number))
    assert world.in_flight() == 0
    assert not world.accepts


def test_bodies_sent_ahead_stay_with_their_requests(world: World) -> None:
    client = world.client()
    put = get(b"/2", b"Transfer-Encoding: chunked", method=b"PUT") + chunked(b"two", b"three")
    whole = post(b"one", path=b"/1") + put + get(b"/3") + post(b"four", path=b"/4")
    client.sends(whole[:70], whole[70:150], whole[150:])
    server = world.accepted()
    for number, request in enumerate([post(b"one", path=b"/1"), put, get(b"/3"), post(b"four", path=b"/4")], 1):
        server.sees(forwarded(request, number))
        server.sends(ok(b"%d" % number))
    client.sees(b"".join(ok(b"%d" % number) for number in (1, 2, 3, 4)))


def test_thousands_of_local_answers_do_not_nest(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.sends(get() * 5000)
    world.loop.run()
    assert client.new().count(b"HTTP/1.1 503 ") == 5000
    assert client.end == ""
    assert client.transport.reading


def test_thousands_of_local_answers_do_not_keep_others_waiting(make: Make) -> None:
    world = make(0)
    log = world.logs("text")
    greedy, other = world.client(), world.client()
    greedy.transport.arrive(get(b"/greedy") * 5000)
    other.transport.arrive(get(b"/other"))
    world.loop.run()
    targets = [line.split()[4] for line in log.lines]
    assert targets.count(b"/greedy") == 5000
    assert targets.index(b"/other") < 500


def test_what_comes_between_two_turns_of_a_pipeline_keeps_its_place(make: Make) -> None:
    world = make(0)
    log = world.logs("text")
    client = world.client()
    for number in range(4):
        client.transport.arrive(b"".join(get(b"/%d" % (number * 400 + n)) for n in range(400)))
    client.transport.arrive(get(b"/last")[:9])
    client.transport.arrive(get(b"/last")[9:])
    world.loop.run()
    assert [line.split()[4] for line in log.lines] == [*(b"/%d" % n for n in range(1600)), b"/last"]


def test_a_client_that_goes_between_two_turns_of_a_pipeline_is_gone(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.transport.arrive(get() * 5000)
    client.transport.break_off()
    world.loop.run()
    assert world.flagged("UH") < 5000
    world.advance(1)


def test_thousands_of_relayed_requests_do_not_nest(world: World) -> None:
    client = world.client()
    client.sends(get() * 5000)
    server = world.accepted()
    for _ in range(5000):
        server.sends(ok())
    assert client.new() == ok() * 5000
    assert client.transport.reading


def test_no_more_than_a_bounded_amount_is_read_ahead(world: World) -> None:
    client = world.client()
    client.sends(*[get(b"/" + b"x" * 1000)] * 500)
    assert len(client.protocol.buffer) < 70_000
    assert not client.transport.reading
    assert client.transport.unread > 400_000
    server = world.accepted()
    for _ in range(500):
        server.sends(ok())
    assert client.new() == ok() * 500
    assert client.transport.unread == 0


def test_a_client_that_does_not_read_gets_no_more_work_done(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.transport.stalled = True
    client.sends(get() * 2000, get() * 2000)
    assert client.transport.get_write_buffer_size() < 70_000
    while client.transport.get_write_buffer_size():
        client.takes(50_000)
    assert client.new().count(b"HTTP/1.1 503 ") == 4000


def test_a_client_that_does_not_read_is_not_read_from(make: Make) -> None:
    world = make(0)
    client = world.client()
    client.transport.stalled = True
    client.sends(*[get() * 1000] * 50)
    assert not client.transport.reading
    assert len(client.protocol.buffer) < 130_000
    assert client.transport.unread > 1_000_000


def test_a_close_in_the_middle_ends_it_there(world: World) -> None:
    client = world.client()
    client.sends(get(b"/1", b"Connection: close") + get(b"/2"))
    server = world.accepted()
    server.sees(forwarded(get(b"/1")))
    server.sends(ok(b"1"))
    client.sees(ok(b"1", b"Connection: close"))
    server.sees_nothing()
    assert not world.accepts


def test_a_close_with_requests_unread_is_one_that_lets_the_answer_arrive(world: World) -> None:
    # A close with unread bytes sends a reset, which can overtake the answer (RFC 9112 section 9.6).
    client = world.client()
    client.sends(get(b"/1", b"Connection: close") + get(b"/2"))
    world.accepted().sends(ok(b"1"))
    client.sees(ok(b"1", b"Connection: close"))
    assert client.end == "eof"
    client.sends(get(b"/3"))
    client.closes()
    assert client.end == "closed"


def test_a_bad_request_after_good_ones_is_answered_in_its_turn(world: World) -> None:
    client = world.client()
    client.sends(get(b"/1") + b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n" + get(b"/3"))
    server = world.accepted()
    server.sees(forwarded(get(b"/1")))
    client.sees_nothing()
    server.sends(ok(b"1"))
    assert client.new().startswith(ok(b"1") + b"HTTP/1.1 400 Bad Request\r\n")
    assert client.end == "eof"
    server.sees_nothing()
    assert world.flagged("BR") == 1


def test_part_of_a_head_waits_for_its_rest_behind_an_exchange(world: World) -> None:
    client = world.client()
    request = get(b"/2")
    client.sends(get(b"/1") + request[:9])
    server = world.accepted()
    server.sends(ok(b"1"))
    client.sees(ok(b"1"))
    client.sends(request[9:20], request[20:])
    server.sees(forwarded(get(b"/1")) + forwarded(request, 2))


def test_requests_sent_ahead_wait_while_the_store_decides(make: Make) -> None:
    world = make(limits=[LIMIT])
    world.worker.store = store = SlowStore(world.loop)
    client = world.client()
    client.sends(get(b"/1") + get(b"/2"), get(b"/3"))
    assert len(store.asked) == 1
    store.decide(False, reset_after=1)
    client.sees_answer(429)
    store.decide(False, reset_after=1)
    client.sees_answer(429)
    store.decide(True)
    world.accepted().sees(forwarded(get(b"/3"), 3))


@pytest.mark.parametrize("state", ["idle", "fresh"])
def test_empty_lines_before_a_request_are_forgiven(world: World, state: str) -> None:
    client = world.client()
    if state == "idle":
        client.sends(get(b"/1"))
        world.accepted().sends(ok())
        client.new()
    client.sends(b"\r\n" + get(b"/2"))
    server = world.peers[0]
    assert server.new().endswith(forwarded(get(b"/2"), 2 if state == "idle" else 1))
