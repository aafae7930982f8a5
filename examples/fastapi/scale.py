"""Adds or removes a server while Headgate runs, through its admin API: `python scale.py add 127.0.0.1:5003`.

`headgate server add 127.0.0.1:5003` does the same. This is how a program of yours would: plain HTTP and JSON.
"""

import json
import os
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ADMIN = os.environ.get("ADMIN", "http://127.0.0.1:9000")
SERVERS = f"{ADMIN}/api/v1/upstreams/api/servers"


def call(method: str, url: str, body: dict | None = None) -> dict:
    """The API's answer; what it refuses is said and ends the program."""
    content = None if body is None else json.dumps(body).encode()
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        with urlopen(Request(url, content, headers, method=method)) as response:
            return json.load(response)
    except HTTPError as error:
        sys.exit(json.load(error)["detail"])


def main(action: str, address: str) -> None:
    """Does it and shows the servers that there are then."""
    if action == "add":
        call("POST", SERVERS, {"address": address})
    elif action == "remove":
        call("DELETE", f"{SERVERS}/{address}")  # it finishes what it has first
    else:
        sys.exit(f"{action}: expected add or remove")
    for server in call("GET", SERVERS)["servers"]:
        print(server["address"], "is leaving" if server["removing"] else server["mode"], server["probe"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python scale.py add|remove ADDRESS")
    main(*sys.argv[1:])
