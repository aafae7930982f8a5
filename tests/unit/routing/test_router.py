import pytest

from headgate.routing.router import Router, counted_path, host_name, normal_path

ROUTES = [
    ("", "/", "any"),
    ("", "/api", "api"),
    ("", "/api/v1/users", "users"),
    ("", "/admin", "admin"),
    ("shop.example", "/", "shop"),
    ("shop.example", "/api", "shop api"),
    ("only.example", "/deep/", "deep"),
    ("[::1]", "/", "six"),
    ("", "/a b/\u00fc", "spaced"),
]
MATCHES = [
    (b"x", b"/", "any"),
    (b"x", b"/?/api", "any"),
    (b"x", b"*", "any"),
    (b"x", b"/api", "api"),
    (b"x", b"/api/", "api"),
    (b"x", b"/api?q", "api"),
    (b"x", b"/api/x", "api"),
    (b"x", b"/apix", "any"),
    (b"x", b"/API", "any"),
    (b"x", b"/api/v1", "api"),
    (b"x", b"/api/v1/users", "users"),
    (b"x", b"/api/v1/users/7", "users"),
    (b"x", b"/api/v1/users7", "api"),
    (b"x", b"/a%20b/%C3%BC/x", "spaced"),
    (b"x", b"/" + b"a/" * 5000, "any"),
    (b"x", b"/api/" + b"a" * 9000, "api"),
    (b"shop.example", b"/", "shop"),
    (b"shop.example", b"/admin", "shop"),
    (b"shop.example", b"/api/v1/users", "shop api"),
    (b"SHOP.Example:8080", b"/api", "shop api"),
    (b"shop.example.", b"/api", "shop api"),
    (b"shop.example.:80", b"/", "shop"),
    (b"xshop.example", b"/", "any"),
    (b"shop.example.evil", b"/", "any"),
    (b"only.example", b"/deep", "deep"),
    (b"only.example", b"/", "any"),
    (b"only.example", b"/admin", "admin"),
    (b"[::1]:80", b"/", "six"),
    (b"[::2]", b"/", "any"),
    (b"", b"/api", "api"),
    (b".", b"/api", "api"),
]
BYPASSES = [
    b"/admin",
    b"/admin/",
    b"//admin",
    b"/./admin",
    b"/x/../admin",
    b"/x/y/../../admin/",
    b"/../admin",
    b"/x/..//admin",
    b"/%61dmin",
    b"/%61%64%6D%69%6e/x",
    b"/x/..%2fadmin",
    b"/x/%2e%2e/admin",
    b"/x%2f..%2Fadmin",
    b"/x/.%2e/admin",
    b"/\\admin",
    b"/x\\..\\admin",
    b"/x%5c..%5Cadmin",
    b"/admin/.",
    b"/admin/x/..",
    b"/admin//x?y",
]


@pytest.mark.parametrize(
    ("host", "target", "route"), MATCHES, ids=[f"{h.decode()}{t[:30].decode()}" for h, t, _ in MATCHES]
)
def test_the_longest_path_wins_and_a_host_beats_no_host(host: bytes, target: bytes, route: str) -> None:
    assert Router(ROUTES).match(host, target) == route


@pytest.mark.parametrize("target", BYPASSES, ids=[target.decode() for target in BYPASSES])
def test_no_spelling_of_a_path_slips_past_its_route(target: bytes) -> None:
    assert Router(ROUTES).match(b"x", target) == "admin"


@pytest.mark.parametrize("target", [b"/admin/..", b"/admin%2f..", b"/adm%2569n", b"/%2561dmin", b"/admi%", b"/x/admin"])
def test_what_only_looks_like_a_path_does_not_take_its_route(target: bytes) -> None:
    assert Router(ROUTES).match(b"x", target) == "any"


TWO_FORMS = [
    b"/admin//../x",
    b"/x//../admin",
    b"/admin/%2f..",
    b"/admin//./../x",
    b"/admin//y/../../x",
    b"/x/y\\\\../admin",
]


@pytest.mark.parametrize("target", TWO_FORMS, ids=[target.decode() for target in TWO_FORMS])
def test_no_route_takes_a_path_that_servers_read_in_two_ways(target: bytes) -> None:
    assert Router(ROUTES).match(b"x", target) is None
    assert Router([("", "/", "only")]).match(b"x", target) == "only"


@pytest.mark.parametrize("path", ["/a%20b", "/a b", "//a b/", "/./a%20b", "/x/../a b"])
def test_a_route_is_compared_in_the_same_form_as_a_target(path: str) -> None:
    router = Router([("", path, "spaced"), ("", "/", "any")])
    assert router.match(b"x", b"/a%20b/c") == "spaced"


def test_a_host_of_a_route_is_compared_in_the_same_form_as_a_host_field() -> None:
    router = Router([("Shop.Example.", "/", "shop")])
    assert router.match(b"shop.example:80", b"/") == "shop"


def test_one_route_for_everything_takes_everything() -> None:
    router = Router([("", "/", "only")])
    assert [router.match(b"x", target) for target in (b"/", b"/a/b", b"*", b"/%")] == ["only"] * 4


@pytest.mark.parametrize("routes", [[], [("", "/api", "api")], [("shop", "/", "shop")]], ids=["none", "path", "host"])
def test_nothing_matches_where_no_route_does(routes: list[tuple[str, str, str]]) -> None:
    assert Router(routes).match(b"x", b"/other") is None


def test_a_match_looks_up_no_more_segments_than_the_longest_route_has() -> None:
    looked_up: list[bytes] = []

    class Table(dict[bytes, str]):
        def get(self, key: bytes, default: object = None) -> str | None:  # type: ignore[override]
            looked_up.append(key)
            return super().get(key)

    router = Router([("", "/a/b/c", "c"), ("", "/a", "a")])
    router._hosts[b""] = Table(router._hosts[b""])
    assert router.match(b"x", b"/a" * 4000) == "a"
    assert looked_up == [b"/a/a/a", b"/a/a", b"/a"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"A.b:80", b"a.b"),
        (b"a.", b"a"),
        (b"[::1]:80", b"[::1]"),
        (b"[FE80::1]", b"[fe80::1]"),
        (b"", b""),
        (b":80", b""),
    ],
)
def test_a_host_name_is_without_port_and_case(host: bytes, name: bytes) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b""),
        (b"*", b""),
        (b"/a/?b/../c", b"/a"),
        (b"/a//b/./c/../", b"/a/b"),
        (b"/..", b""),
        (b"/.a/..b/...", b"/.a/..b/..."),
        (b"/%2", b"/%2"),
        (b"/%zz%41", b"/%zzA"),
        (b"/%00", b"/\0"),
        (b"/a%3Fb", b"/a?b"),
        (b"/x/..//a", b"/a"),
        (b"//../a", b"/a"),
        (b"/a//b/../c", b"/a/c"),
        (b"/a/..//", b""),
    ],
)
def test_a_path_has_one_normal_form(target: bytes, path: bytes) -> None:
    assert normal_path(target) == path
    assert normal_path(target + b"?x") == path


@pytest.mark.parametrize("path", [b"/login", b"/login/?q", b"/a//../login", b"/b//../login?q", b"/%2e//login"])
def test_a_path_counts_as_one_whatever_its_form(path: bytes) -> None:
    assert counted_path(path) == b"/login"


@pytest.mark.parametrize("path", [b"/", b"*", b"//", b"/a/..", b"/a//.."])
def test_the_root_counts_as_a_slash(path: bytes) -> None:
    assert counted_path(path) == b"/"
