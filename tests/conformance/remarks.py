"""The words of docs/conformance.md around its tables."""

BEFORE = """\
# What Headgate, nginx and HAProxy let through

Made by `scripts/conformance`; change `tests/conformance`, not this page.

Every vector of the codec's tests, played over sockets against Headgate and against the nginx and HAProxy of Debian
12: odd requests, and odd responses to a sound request. What two parsers could read in two ways is what requests are
smuggled with, so the question is always the same: who lets arrive what Headgate refuses, and who refuses what
Headgate passes? """

AFTER = """
## How it is made

The proxies are those of the [benchmark](../benchmarks/README.md) with its configurations: keep-alive on both sides
and no filters. Behind each stands a server that writes down what reaches it and answers whatever that is. Each case
has a connection of its own. When it is answered, a usual request follows on it: it shows whether client, proxy and
server are still in step. Nobody waits for a proxy for longer than 0.7 s. HAProxy is started eight times and each case
played against each: it judges some malformed trailers in one way or the other from start to start. The start counts
in which the most arrived.

The bytes are in `tests/unit/http1/*_vectors.py` under the names used here (those of bodies without `chunk-`), and in
`tests/conformance/exchanges.py`. There a head that is refused is followed by `0 CRLF CRLF`, which is five bytes and
also an empty chunked body, so that whoever takes the head need not wait. The vectors of Headgate's limits, and those
whose body would be too large to send, are left out. `tests/conformance/test_headgate.py` holds Headgate to its column
in every `make test`; nothing else here is needed for that.

## How to read it

| cell | meaning |
| --- | --- |
| `400` | refused, and no byte of it reached the server; for a response: the client got no byte of it |
| `200` | passed on as Headgate passes it on |
| `200: ...` | passed on, but otherwise: with this first line, Host, field or body |
| **`200`**`: ...` | passed on although Headgate refuses it: what arrived, or *repaired*, a sound message |
| **`400`**`: ...` | refused, but only when part of it had reached the server |
| *`400`* | refused although Headgate passes it on |
| `cut` | broken off in a way that the client can see |
| `waits`, `closed` | no answer within 0.7 s; none at all |
| `raw` | bytes without a head: HTTP/0.9, or for HAProxy HTTP/2 |

Not compared are the fields that every proxy writes in its own way: `Connection`, `Via`, `Date`, `Server`,
`X-Forwarded-*`, `X-Request-ID`, and whether a sound body is passed on in chunks or with its length. What becomes of
`Forwarded` or `X-Real-IP` is a matter of configuration in nginx and HAProxy; Headgate takes them out by default.

Being let in is not yet a hole. RFC 9112 allows much of it: to merge equal lengths, to prefer `chunked` to a length,
to end a line at a bare line feed, to unfold a folded line. Whoever does so and writes the message anew, as nginx and
HAProxy mostly do, is safe before a server that reads it alike. Headgate refuses so that it need not know the server.
Both peers are the versions that Debian 12 ships, with its security fixes; later ones refuse more.

## What stands out

- **nginx** ignores a field line that it finds malformed and passes the rest; takes a bare line feed for a line's end;
  looks neither at chunk extensions nor at trailers, and passes on neither; answers HTTP/0.9. Of a response it ignores
  a length or coding that it cannot read, and frames the body anew. A response without a sound status line it takes
  for HTTP/0.9: the client gets the server's bytes without a head, on a connection that stays open.
- **HAProxy** takes the coding when there is a length too and drops the length; merges equal lengths; passes
  `Transfer-Encoding` in HTTP/1.0 on as HTTP/1.0; unfolds lines, `Host` too; hardly looks at `Host`; serves `CONNECT`,
  `TRACE` and all versions up to 9.9 unless told otherwise. It accepts NUL in values. Zeros before a length go on
  to the server.
- **Both** accept controls other than CR and LF in values, sizes of chunks that end in white space or a bare line
  feed, malformed extensions, and more than one empty line before a request.

## Where a peer is stricter

- HAProxy refuses a target in absolute-form whose authority is not that of `Host`. Headgate follows RFC 9112 section
  3.2.2: the authority rules and `Host` is replaced by it. (nginx, told `proxy_set_header Host $http_host`, sends the
  `Host` that came.)
- HAProxy refuses trailers that are called `Content-Length` or `Transfer-Encoding`. Headgate leaves all trailers out.
- HAProxy takes no more than 101 fields of a response; Headgate takes 256.
- nginx refuses methods with lower-case letters or digits, `OPTIONS *`, and targets that it cannot decode (`%zz`,
  `%00`) or that climb above the root. Headgate passes methods and targets on as they are: they are the server's to
  judge, and its routes match paths in normal form.
- nginx refuses a second `Expect`; Headgate leaves both out. It also refuses a tab before a length, a coding or a
  host, which the grammar allows.
- Both refuse a chunk of 2^60 bytes when they see its size, and a head whose lines end in bare carriage returns at
  once. Headgate passes the former on as it comes, and waits for the latter to become a line, until its limits end
  that.

## What this strictness costs

These come from servers and clients that mean no harm, and one or both of the peers serve them: responses with two
equal `Content-Length` fields, with bare line feeds or folded lines, chunked in HTTP/1.0; chunk sizes padded with
spaces; several empty lines before a request. From Headgate they get 502 or 400. The access log has the flag `UPE` or
`BR`.
"""
