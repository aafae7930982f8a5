"""nginx's limits in Redis: Lua in nginx, one atomic script and one round trip a request, however many limits there are.

Each script counts by the algorithm of the scenario. They are shorter than Headgate's, as somebody would write them who
knows his limits: none tells what remains, the fixed window counts what it refuses too, which saves it a read, and what
an nginx had in flight that was killed stays counted until nobody asks any more.
"""

import hashlib
from collections.abc import Sequence

from benchmarks.scenarios import Scenario

# ARGV: seconds of the period, then the requests of each key. All answer 1 to refuse, 0 to let pass.
_SCRIPTS = {
    "fixed_window": """
local refused = 0
for i, key in ipairs(KEYS) do
    local n = redis.call('INCR', key)
    if n == 1 then redis.call('EXPIRE', key, ARGV[1]) end
    if n > tonumber(ARGV[i + 1]) then refused = 1 end
end
return refused""",
    "sliding_window": """
local time, period = redis.call('TIME'), tonumber(ARGV[1])
local windows = (time[1] + time[2] / 1000000) / period
local window = math.floor(windows)
local rest = 1 - (windows - window)
for i, key in ipairs(KEYS) do
    local counts = redis.call('MGET', key .. window - 1, key .. window)
    if (counts[1] or 0) * rest + (counts[2] or 0) + 1 > tonumber(ARGV[i + 1]) then return 1 end
end
for i, key in ipairs(KEYS) do
    if redis.call('INCR', key .. window) == 1 then redis.call('EXPIRE', key .. window, 2 * period) end
end
return 0""",
    "gcra": """
local time, period = redis.call('TIME'), ARGV[1] * 1000000
local now, ends = time[1] * 1000000 + time[2], {}
for i, key in ipairs(KEYS) do
    ends[i] = math.max(tonumber(redis.call('GET', key) or 0), now) + period / ARGV[i + 1]
    if ends[i] - now > period then return 1 end
end
for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', ends[i]), 'PX', math.ceil((ends[i] - now) / 1000))
end
return 0""",
    "concurrency": """
for i, key in ipairs(KEYS) do
    if redis.call('INCR', key) > tonumber(ARGV[i + 1]) then
        for j = 1, i do redis.call('DECR', KEYS[j]) end
        return 1
    end
    redis.call('EXPIRE', key, ARGV[1])
end
return 0""",
}

# By its digest, as one does.
_ZONE = """init_by_lua_block {{
        redis = require "nginx.redis"
        script = [[{script}]]
        digest = "{digest}"
    }}"""
_USE = """access_by_lua_block {{
                local client = redis:new()
                client:set_timeout(1000)
                local connected, err = client:connect("127.0.0.1", {port})
                if not connected then
                    ngx.log(ngx.ERR, "redis: ", err)
                    return ngx.exit(500)
                end
                local address = ngx.var.remote_addr
                local refused, err = client:evalsha(digest, {arguments})
                if refused == false then
                    refused, err = client:eval(script, {arguments})
                end
                if not refused then
                    ngx.log(ngx.ERR, "redis: ", err)
                    return ngx.exit(500)
                end
                client:set_keepalive(60000, 1024)
                if refused == 1 then
                    return ngx.exit(429)
                end
            }}"""

# What is in flight is given back when the request is over, where nginx lets Lua open no connection: in a timer.
_GIVE_BACK = """
            log_by_lua_block {{
                if ngx.status ~= 429 then
                    ngx.timer.at(0, function(_, address)
                        local client = redis:new()
                        client:set_timeout(1000)
                        if client:connect("127.0.0.1", {port}) and client:decr("limit0:" .. address) then
                            client:set_keepalive(60000, 1024)
                        end
                    end, ngx.var.remote_addr)
                end
            }}"""


def directives(scenario: Scenario, port: int) -> tuple[str, str]:
    """What nginx is told of the scenario's limits: for the whole, and for the location."""
    script = _SCRIPTS[scenario.algorithm].strip()  # Lua drops a line end at the start: the digest would be another's
    digest = hashlib.sha1(script.encode()).hexdigest()
    use = _USE.format(port=port, arguments=_arguments(scenario.quotas, scenario.period))
    if scenario.algorithm == "concurrency":
        use += _GIVE_BACK.format(port=port)
    return _ZONE.format(script=script, digest=digest), use


def _arguments(quotas: Sequence[int], period: int) -> str:
    keys = [f'"limit{number}:" .. address' for number in range(len(quotas))]
    return ", ".join([str(len(quotas)), *keys, str(period), *map(str, quotas)])
