from prices import paid, price

from headgate.testing.requests import request, response


def test_searches_cost_ten_however_they_are_written():
    assert price(request("GET /search?q=x")) == 10
    assert price(request("GET //%73earch/more")) == 10
    assert price(request("POST /search")) == 20


def test_all_else_costs_one_and_health_checks_nothing():
    assert price(request("GET /")) == 1
    assert price(request("GET /searching")) == 1
    assert price(request("GET /health")) == 0


def test_failures_are_free_and_what_was_known_is_cheap():
    search = request("GET /search")
    assert paid(search, response(502)) == 0
    assert paid(search, response(200, {"X-Cache": "hit"})) == 1
    assert paid(search, response(200)) is None
