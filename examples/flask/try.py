"""Shows the round robin and the limit of headgate.toml: `python try.py [URL]`. Needs nothing but Python."""

import json
import sys
from urllib.error import HTTPError
from urllib.request import urlopen


def main(url: str) -> int:
    """Sends requests until one is refused; 0 when that was as it should be."""
    servers = []
    for number in range(1, 101):
        try:
            with urlopen(url) as response:
                servers.append(json.load(response)["server"])
        except HTTPError as error:
            if error.code != 429:
                raise
            print(f"request {number:2}: 429, {json.load(error)['detail']}")
            break
        print(f"request {number:2}: 200, server {servers[-1]}")
    else:
        print("a hundred requests passed: there is no limit", file=sys.stderr)
        return 1
    for server in sorted(set(servers)):
        print(f"server {server} answered {servers.count(server)} requests")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/"))
