import pytest

from headgate.store.url import Cluster, Endpoint, Sentinels, parse


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://example.org", Endpoint("example.org")),
        ("redis://example.org:7000/3", Endpoint("example.org", 7000, db=3)),
        ("redis://example.org?db=3", Endpoint("example.org", db=3)),
        ("redis://[::1]:7000", Endpoint("::1", 7000)),
        ("redis:///2", Endpoint("127.0.0.1", db=2)),
        ("redis://:se%2Fcret%40@h", Endpoint("h", password="se/cret@")),
        ("redis://al%3Ace:pw@h/", Endpoint("h", user="al:ce", password="pw")),
        ("rediss://h", Endpoint("h", tls=True)),
        ("unix:///run/redis.sock", Endpoint(path="/run/redis.sock")),
        ("unix://u:p@/run/redis%20a.sock?db=1", Endpoint(path="/run/redis a.sock", db=1, user="u", password="p")),
        ("redis+unix:///run/redis.sock", Endpoint(path="/run/redis.sock")),
    ],
)
def test_a_url_names_an_endpoint(url: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(url) == endpoint


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("example.org:6379", "expected redis://host:port/db"),
        ("http://example.org", "expected redis://host:port/db"),
        ("redis://h:0x1", "expected a port"),
        ("redis://h:70000", "expected a port"),
        ("redis://h/first", '"first" is not a database'),
        ("redis://h/-1", '"-1" is not a database'),
        ("redis://h/\u0663", "is not a database"),
        ("redis://h?timeout=3", '"timeout" is not a parameter'),
        ("unix://run/redis.sock", "needs an absolute path"),
        ("unix:run/redis.sock", "needs an absolute path"),
    ],
)
def test_what_is_no_url_is_refused_with_what_was_expected(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Endpoint.parse(url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://alice:secret@h/1", "redis://alice@h:6379/1"),
        ("rediss://:secret@[::1]", "rediss://[::1]:6379/0"),
        ("unix://:secret@/run/s", "unix:///run/s?db=0"),
    ],
)
def test_the_text_leaves_out_the_password(url: str, text: str) -> None:
    endpoint = Endpoint.parse(url)
    assert str(endpoint) == text
    assert "secret" not in repr(endpoint)


def test_an_error_never_repeats_the_password() -> None:
    with pytest.raises(ValueError) as error:
        Endpoint.parse("redis://:secret@h:70000")
    assert "secret" not in str(error.value)


A, B = Endpoint("a", 26379), Endpoint("b", 26379)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://a", Endpoint("a")),
        ("unix:///run/s", Endpoint(path="/run/s")),
        ("redis+sentinel://a/main", Sentinels((A,), "main", Endpoint())),
        ("redis+sentinel://a,b:26379/my%20main/3", Sentinels((A, B), "my main", Endpoint(db=3))),
        ("redis+sentinel://[::1]:5,a/m/", Sentinels((Endpoint("::1", 5), A), "m", Endpoint())),
        ("redis+sentinel://u:p%40,@a/m", Sentinels((A,), "m", Endpoint(user="u", password="p@,"))),
        (
            "rediss+sentinel://:p@a/m?sentinel_user=w&sentinel_password=q%26+",
            Sentinels(
                (Endpoint("a", 26379, user="w", password="q&+", tls=True),), "m", Endpoint(password="p", tls=True)
            ),
        ),
        ("redis+cluster://a,[::1]:7000/0", Cluster((Endpoint("a"), Endpoint("::1", 7000)))),
        ("rediss+cluster://u:p%2F@a", Cluster((Endpoint("a", user="u", password="p/", tls=True),))),
    ],
)
def test_a_url_names_a_redis_or_who_knows_it(url: str, named: Endpoint | Sentinels | Cluster) -> None:
    assert parse(url) == named


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://a", "expected redis://host:port/db"),
        ("redis+sentinel://a", "expected the name of the service"),
        ("redis+sentinel://a/", "expected the name of the service"),
        ("redis+sentinel:///m", "expected host:port"),
        ("redis+sentinel://a,/m", "expected host:port, or several with commas"),
        ("redis+sentinel://a:0x1/m", "expected host:port, with a port"),
        ("redis+sentinel://a:1,b:70000/m", "expected host:port, with a port"),
        ("redis+sentinel://a/m/first", '"first" is not a database'),
        ("redis+cluster://a/1", "a Cluster has no databases but 0"),
        ("redis+cluster://", "expected host:port"),
        ("redis+cluster://a?db=0", '"db" is not a parameter .known: none'),
        ("redis+sentinel://a/m?db=1", '"db" is not a parameter .known: sentinel_user, sentinel_password'),
    ],
)
def test_what_names_nothing_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(url)


def test_the_text_of_sentinels_leaves_out_passwords() -> None:
    named = parse("rediss+sentinel://alice:secret@a:1,[::1]/m/2?sentinel_password=secret")
    assert str(named) == "rediss+sentinel://alice@a:1,[::1]:26379/m/2"
    assert "secret" not in repr(named)


def test_the_text_of_a_cluster_leaves_out_the_password() -> None:
    named = parse("redis+cluster://alice:secret@a:1,[::1]")
    assert str(named) == "redis+cluster://alice@a:1,[::1]:6379"
    assert "secret" not in repr(named)
