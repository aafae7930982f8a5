"""Coverage-guided fuzzing with atheris, which is no dependency of the tests: `scripts/fuzz request 60`.

What it found interesting is kept in `.fuzz/TARGET` and is where the next run begins. What fails is written to
`.fuzz/TARGET-crash-...`, shown, and played again with `scripts/fuzz TARGET FILE`.
"""

import logging
import pathlib
import sys

import atheris

with atheris.instrument_imports(include=["headgate"]):
    from tests.fuzz.targets import TARGETS, corpus

_LONG = 1000  # bytes from which on an example of the tables costs more than it shows
_ROOT = pathlib.Path(".fuzz")
_HEADS = ("GET ", "POST ", "HEAD ", " HTTP/1.1", " HTTP/1.0", *(f"HTTP/1.1 {code} X" for code in (101, 103, 200, 204)))
_FIELDS = ("Host: a", "Content-Length: 3", "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: x")
_BITS = ("Connection: close", "Connection: upgrade", "Keep-Alive: timeout=1", "0", "1", "a", ";x=y", ":", ",", "_")
_WORDS = (*_HEADS, *_FIELDS, *_BITS, "\r\n\r\n", "1\r\na\r\n", "0\r\n\r\n", *(f"\xfe{letter}" for letter in "cshrexkt"))


def main() -> None:
    """Fuzzes a target for so many seconds, or plays one file again."""
    target, what = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    if target not in TARGETS:
        sys.exit(f"no target {target!r} (known: {', '.join(TARGETS)})")
    logging.disable(logging.CRITICAL)
    if not what.isdecimal():
        TARGETS[target](pathlib.Path(what).read_bytes())
        return
    kept = _ROOT / target
    kept.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(data for data in corpus(target) if len(data) < _LONG):
        (kept / f"first-{number}").write_bytes(data)
    words = _ROOT / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n"{_escaped(word)}\\x0d\\x0a"\n' for word in _WORDS))
    options = [f"-max_total_time={what}", f"-dict={words}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={_ROOT}/{target}-", str(kept)], TARGETS[target])
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else f"\\x{ord(letter):02x}" for letter in word)


if __name__ == "__main__":
    main()
