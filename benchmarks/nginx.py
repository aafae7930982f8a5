"""nginx twice: as the backend of every proxy, and as the proxy that the others are compared with.

The proxy is configured as someone would who wants it fast: keep-alive on both sides without a count that ends it, a
buffered access log, and for large bodies the buffers that cost it least. What it adds to a request is what Headgate
adds to one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import nginx_redis
from benchmarks.scenarios import PROOF, Case
from benchmarks.stage import Stage

BODY = 100_000
SMALL = "Hello from the backend of the benchmark, which is always in a good mood and never in a hurry.\n"
LUA = ["/usr/lib/nginx/modules/ndk_http_module.so", "/usr/lib/nginx/modules/ngx_http_lua_module.so"]
LUA_REDIS = "/usr/share/lua/5.1/nginx/redis.lua"
CONNECTIONS = 16384

_HEAD = """
daemon off;
worker_processes 1;
pid {name}.pid;
error_log stderr warn;
{user}
{modules}
events {{ worker_connections {connections}; }}
http {{
    client_body_temp_path {name}-body;
    proxy_temp_path {name}-proxy;
    fastcgi_temp_path {name}-fastcgi;
    uwsgi_temp_path {name}-uwsgi;
    scgi_temp_path {name}-scgi;
    keepalive_requests 1000000000;
    server_tokens off;
    tcp_nodelay on;
"""

# A POST to a static file is refused with 405, and by then `mirror` has read the whole body: the cheapest way to make
# plain nginx take an upload to its end before it answers.
_BACKEND = """
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    client_body_buffer_size 128k;
    server {{
        {listens}
        root files;
        location / {{ return 200 "{small}"; }}
        location = /file {{ try_files /body =404; }}
        location = /upload {{ mirror /dropped; error_page 405 =200 @taken; try_files /body =404; }}
        location @taken {{ return 200 "taken\\n"; }}
        location = /dropped {{ internal; return 204; }}
        location = /seen {{
            return 200 "$server_port|$http_x_forwarded_for|$http_x_forwarded_proto|$http_via|$http_x_request_id";
        }}
    }}
}}
"""

_PROXY = """
    access_log /dev/null combined buffer=64k flush=1s;
    {zone}
    upstream servers {{
        {servers}
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            {limit}
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header Via "1.1 nginx";
            {bodies}
        }}
    }}
}}
"""

# The least CPU of eight settings that were tried (README.md): responses streamed through one buffer of 64k as HAProxy
# and Headgate stream them, uploads whole in memory. By default nginx has 8 buffers of 4k, and writes uploads to a file.
_LARGE_BODIES = """proxy_buffering off;
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
            client_body_buffer_size 128k;"""


@dataclass(frozen=True, slots=True)
class Limit:
    """The directives of a rate limit: those of the whole and those of the location."""

    zone: str
    use: str


_NONE = Limit("", "")
_LOCAL = Limit(
    "limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;",
    "limit_req zone=clients burst=1000000 nodelay;",
)
# Refused without a line in the error log for each: the access log has one.
_REFUSE = Limit(
    "limit_req_zone $binary_remote_addr zone=clients:10m rate=1r/m;",
    f"limit_req zone=clients burst={PROOF - 1} nodelay; limit_req_status 429; limit_req_log_level info;",
)


def backend(stage: Stage, ports: Sequence[int]) -> list[str]:
    """The command of the backend: as many servers as ports, in one process."""
    files = stage.directory / "files"
    files.mkdir()
    (files / "body").write_bytes(os.urandom(BODY))
    listens = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    text = _head("backend") + _BACKEND.format(listens=listens, small=SMALL.replace("\n", "\\n"))
    return _command(stage, "backend", text)


def proxy(stage: Stage, case: Case, name: str = "nginx", *, tuned: bool = True) -> list[str]:
    """The command of nginx as the proxy. tuned: with buffers that suit the bodies, not those that it has by default."""
    limit, modules = _NONE, list[str]()
    if case.scenario.limit == "local":
        limit = _REFUSE if case.scenario.refused else _LOCAL
    elif case.scenario.limit == "redis":
        limit, modules = Limit(*nginx_redis.directives(case.scenario, case.redis)), LUA
    text = _head(name, modules) + _PROXY.format(
        port=case.port,
        servers=" ".join(f"server 127.0.0.1:{port};" for port in case.servers),
        zone=limit.zone,
        limit=limit.use,
        bodies=_LARGE_BODIES if tuned and case.large else "",
    )
    return _command(stage, name, text)


def _head(name: str, modules: Sequence[str] = ()) -> str:
    # Started by root, the worker stays root, whom the temporary directory belongs to; else nginx cannot change users.
    user = "user root;" if os.getuid() == 0 else ""
    load = " ".join(f"load_module {module};" for module in modules)
    return _HEAD.format(name=name, user=user, modules=load, connections=CONNECTIONS)


def _command(stage: Stage, name: str, text: str) -> list[str]:
    file = stage.write(f"{name}.conf", text)
    return ["nginx", "-p", str(stage.directory), "-c", str(file), "-e", "stderr"]
