import pytest

from headgate.limits.keys import LONGEST, Seal, said
from headgate.limits.keytext import shown
from headgate.model.config import Limit, OnError, Python, Rate
from headgate.worker.hiding import hiding
from headgate.worker.keys import Keys
from tests.unit.worker.test_keys import ADDRESS, CLIENT, head

SEAL = Seal(b"secret")
HASH = SEAL(b"=s3cret")
PLAIN = Python()


def limit(key: str, *, private: bool = True, python: Python = PLAIN) -> Limit:
    return Limit("a", Rate(1, 1.0), key=key, private=private, python=python)


def test_limits_that_hide_nothing_of_a_target_cost_nothing() -> None:
    assert hiding([limit("query:token", private=False), limit("header:token"), limit("client_ip,path")], SEAL) is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a", b"/a"),
        (b"/token=s3cret", b"/token=s3cret"),
        (b"/?", b"/?"),
        (b"/?a=s3cret&tokens=s3cret&Token=s3cret", b"/?a=s3cret&tokens=s3cret&Token=s3cret"),
        (b"/?a=1&token=s3cret&b", b"/?a=1&token=%b&b" % HASH),
        (b"http://a/b?token=s3cret", b"http://a/b?token=%b" % HASH),
        (b"/?token=s3cret?x", b"/?token=%b" % SEAL(b"=s3cret?x")),
        (b"/?%74oken=%733cret", b"/?%%74oken=%b" % HASH),
        (b"/?token=a+b=c", b"/?token=%b" % SEAL(b"=a b=c")),
        (b"/?token=&token", b"/?token=&token"),
        (b"/?token=s3cret&token=other&%74oken=s3cret&token=", b"/?token=%b&token=~&%%74oken=~&token=" % HASH),
        (b"/?token=" + b"x" * 500, b"/?token=" + SEAL(said(b"x" * 500, b""))),
    ],
)
def test_the_value_of_the_parameter_is_hidden_and_all_else_is_as_it_was(target: bytes, expected: bytes) -> None:
    hide = hiding([limit("client_ip, query:token".replace(" ", ""))], SEAL)
    assert hide is not None
    assert hide(target) == expected


def test_all_parameters_that_a_private_limit_may_count_by_are_hidden() -> None:
    python = Python(cache_by="query:by", on_error=OnError(key="query:else"))
    hide = hiding([limit("query:a,query:b"), limit("python:m:f", python=python), limit("query:c", private=False)], SEAL)
    assert hide is not None
    assert hide(b"/?a=x&b=x&c=x&by=x&else=x") == b"/?a=%b&b=%b&c=x&by=%b&else=%b" % ((SEAL(b"=x"),) * 4)


@pytest.mark.parametrize("value", [b"s3cret", b"%2f+%FF", b"y" * (LONGEST + 1)])
def test_what_is_shown_is_the_key_that_operators_see(value: bytes) -> None:
    keys, one = Keys(b"secret"), limit("query:token")
    hide = keys.hiding([one])
    assert hide is not None
    request = head(b"/?token=" + value)
    key = keys.of(one, b"").read(request, CLIENT, ADDRESS)
    assert hide(request.target) == b"/?token=" + shown(key).encode()
