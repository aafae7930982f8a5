"""The requests that wrk is told to make, and what is read out of what it says."""

import pytest
from benchmarks.load import LoadFailed, parse, script
from benchmarks.measure import count_scripts
from benchmarks.scenarios import SCENARIOS, Scenario

ANSWER = '{"requests": 100, "seconds": 2.0, "p50": 900.0, "p99": 1500.0, "refused": 1, "failed": 2}'


def test_the_line_of_the_script_is_found_among_those_of_wrk() -> None:
    answered = parse(f"Running 2s test\n  100 requests in 2.00s\n\n{ANSWER}\n")
    assert (answered.requests, answered.p99, answered.refused, answered.failed) == (100, 1500.0, 1, 2)


def test_an_error_of_wrk_is_told_as_it_is() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_load_without_one_answer_has_failed() -> None:
    with pytest.raises(LoadFailed, match="no request was answered"):
        parse(ANSWER.replace("100", "0"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_makes_requests_that_differ(scenario: Scenario) -> None:
    text = script(scenario)
    assert "%(" not in text  # everything was filled in
    (line,) = (line for line in text.splitlines() if "requests[i] =" in line)
    assert ".. i" in line


def test_scripts_that_redis_ran_are_counted_whatever_they_were_called_by() -> None:
    calls = ("cmdstat_info:calls=7,usec=1", "cmdstat_evalsha:calls=40,usec=9", "cmdstat_eval:calls=2,usec=1")
    assert count_scripts("\r\n".join(("# Commandstats", *calls))) == 42
