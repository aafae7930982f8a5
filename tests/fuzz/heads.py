"""Heads as an attacker would write them: mostly sound, with everything in them that parsers are known to read apart."""

from hypothesis import strategies as st

_NAMES = (
    *(b"Host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Keep-Alive", b"TE", b"Trailer"),
    *(b"Upgrade", b"Proxy-Connection", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-", b"X-Forwarded-Port"),
    *(b"X-Real-IP", b"X-Request-ID", b"Forwarded", b"Via", b"Accept", b"Cookie", b"X", b"Set-Cookie", b"TEE", b"Hos"),
    *(
        b"Content_Length",
        b"X_Forwarded_For",
        b"Transfer-Encoding ",
        b"Content-Length\t",
        b" Host",
        b"",
        b"\xe9",
        b"A\0",
    ),
)
_VALUES = (
    *(
        b"close",
        b"Close",
        b"keep-alive",
        b"Keep-Alive",
        b"keep-alive, close",
        b"x, content-length",
        b"upgrade",
        b"host",
    ),
    *(
        b"chunked",
        b"Chunked",
        b"CHUNKED",
        b"chunked, chunked",
        b"gzip, chunked",
        b"identity",
        b"xchunked",
        b"\x0bchunked",
    ),
    *(b"0", b"3", b"03", b"3, 3", b"+3", b"-3", b"0x3", b"3 3", b"9" * 18, b"9" * 19, b"100-continue", b"100-Continue"),
    *(
        b"a",
        b"a:80",
        b"[::1]",
        b"a, b",
        b"a b",
        b"",
        b"203.0.113.7, 10.0.0.1",
        b"v\r\n w",
        b"v\rw",
        b"v\nw",
        b"v\0",
        b"\xff",
    ),
)
_SPACES = st.sampled_from([b" ", b" ", b" ", b"", b"  ", b"\t", b" \t"])
_ENDS = st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b" \r\n", b"\n\r\n", b"\r\n "])
_FRAMING = st.sampled_from(
    [b"", b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"content-length:0\r\n"]
)


def _cased(names: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda name, change: change(name), names, st.sampled_from([bytes, bytes, bytes.lower, bytes.upper])
    )


_values = st.one_of(st.sampled_from(_VALUES), st.binary(max_size=6))
wild_lines = st.builds(
    lambda name, space, value, end: name + b":" + space + value + end,
    _cased(st.sampled_from(_NAMES)), _SPACES, _values, _ENDS,
)  # fmt: skip
# Lines that are sound by themselves, so that whole heads of them are accepted more often than not.
_plain_names = st.sampled_from([name for name in _NAMES[8:] if name.replace(b"-", b"").replace(b"_", b"").isalnum()])
_plain_values = st.from_regex(rb"[!-~\x80-\xff]([!-~ \t\x80-\xff]{0,8}[!-~])?", fullmatch=True)
_tame_connection = st.sampled_from([b"close", b"keep-alive", b"Keep-Alive", b"x, te", b"close , x", b"content-length"])
tame_lines = st.one_of(
    st.builds(
        lambda name, space, value: name + b":" + space + value + b"\r\n", _cased(_plain_names), _SPACES, _plain_values
    ),
    st.builds(lambda value: b"Connection: " + value + b"\r\n", _tame_connection),
)

_targets = st.one_of(
    st.sampled_from(
        [b"/", b"/a/b?c=d", b"//a", b"*", b"http://b/c", b"http://b", b"https://b:8?q", b"a:80", b"/a#b", b"/\xe9"]
    ),
    st.from_regex(rb"/[!-~]{0,12}", fullmatch=True),
)
_methods = st.sampled_from(
    [b"GET", b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"get", b"M_M"]
)
_versions = st.sampled_from([b"1.1"] * 8 + [b"1.0", b"1.0", b"1.2", b"2.0", b"1.11"])
_before = st.sampled_from([b""] * 15 + [b"\r\n"])
_requests = st.builds(lambda *parts: b"%b%b %b HTTP/%b\r\n" % parts, _before, _methods, _targets, _versions)
_hosts = st.sampled_from([b"Host: a\r\n"] * 6 + [b"host:[::1]:80\r\n", b"HOST: \tb \r\n", b""])

tame_requests = st.builds(
    lambda line, host, before, framing, after: line + b"".join(before) + host + framing + b"".join(after) + b"\r\n",
    _requests, _hosts, st.lists(tame_lines, max_size=3), _FRAMING, st.lists(tame_lines, max_size=3),
)  # fmt: skip
wild_requests = st.builds(
    lambda line, host, lines: line + host + b"".join(lines) + b"\r\n",
    _requests,
    _hosts,
    st.lists(wild_lines, max_size=5),
)

_statuses = st.builds(
    lambda version, code, reason: b"HTTP/%b %b%b\r\n" % (version, code, reason),
    st.sampled_from([b"1.1"] * 8 + [b"1.0", b"1.2"]),
    st.sampled_from([b"200"] * 4 + [b"204", b"304", b"404", b"500", b"100", b"103", b"205", b"999", b"20", b"2000"]),
    st.sampled_from([b" OK", b" OK", b" ", b"", b" Not Found", b" \xe9", b"  x", b" \0"]),
)  # fmt: skip
tame_responses = st.builds(
    lambda line, before, framing, after: line + b"".join(before) + framing + b"".join(after) + b"\r\n",
    _statuses, st.lists(tame_lines, max_size=3), _FRAMING, st.lists(tame_lines, max_size=3),
)  # fmt: skip
wild_responses = st.builds(
    lambda line, lines: line + b"".join(lines) + b"\r\n", _statuses, st.lists(wild_lines, max_size=5)
)

_scraps = st.one_of(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\0", b",", b";", b"\x0b", b"\x7f", b"\x85"]
    ),
    st.sampled_from([b"_", b"-", b"0", b"\r\nHost: b", b"\r\nContent-Length: 1", b"\r\nTransfer-Encoding: chunked"]),
    st.binary(min_size=1, max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn, heads: st.SearchStrategy[bytes]) -> bytes:
    """A head with some bytes put in, taken out or replaced."""
    data = draw(heads)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 2))
        data = data[:at] + draw(st.one_of(st.just(b""), _scraps)) + data[at + gone :]
    return data


requests = st.one_of(tame_requests, mutated(tame_requests), mutated(wild_requests), mutated(st.binary(max_size=60)))
responses = st.one_of(tame_responses, mutated(tame_responses), mutated(wild_responses), mutated(st.binary(max_size=60)))

_sizes = st.builds(lambda size, form: form % size, st.integers(1, 20), st.sampled_from([b"%x", b"%X", b"00%x"]))


# What the RFC allows and one of the oracles refuses: white space before an extension (h11), framing fields in a trailer
# (httptools). We accept both, and pass on neither.
ODD = (b" ;x=y", b"\t;x", b"Content-Length: 9\r\n")


@st.composite
def chunked_bodies(draw: st.DrawFn, odd: bool = True) -> bytes:
    """A sound chunked body, with extensions and trailers now and then. odd: whether with what is in ODD."""
    body = b""
    for _ in range(draw(st.integers(0, 3))):
        size = draw(_sizes)
        extension = draw(st.sampled_from([b"", b"", b";x", b";x=y", b';x="y"', *(ODD[:2] if odd else ())]))
        body += size + extension + b"\r\n" + draw(st.binary(min_size=int(size, 16), max_size=int(size, 16))) + b"\r\n"
    trailer: bytes = draw(st.sampled_from([b"", b"", b"X: v\r\n", *(ODD[2:] if odd else ())]))
    return body + b"0\r\n" + trailer + b"\r\n"
