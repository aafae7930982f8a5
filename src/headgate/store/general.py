"""The script of Redis for every algorithm, and for requests under limits of several ones.

It is `headgate.limits` on the clock of Redis, in whole numbers of a unit of time (`limits/meter.py`), which a Lua
double holds exactly up to 2**53. The fixed window is as in script.py, with which it shares its keys; the others keep
their state as three numbers, `ends` and two that are the algorithm's, in a key that expires when it has ended. All
limits of a request are checked, then all are taken, or none. The answer is one line, `allowed remaining reset_after`
for each limit.
"""

SOURCE = b"""\
local call, floor, ceil, max, min = redis.call, math.floor, math.ceil, math.max, math.min
local no_count, most = {err = 'ERR value is not an integer'}, 9007199254740991
local time = call('TIME')
local microseconds = time[1] * 1000000 + time[2]

local function fixed_window(state, now, limit, period)
  if state.count >= limit then return false, 0, state.left + 1 end
  state.count, state.taken = state.count + 1, state.taken + 1
  return true, limit - state.count, state.left + 1
end

local function gcra(state, now, limit, period, burst)
  local all = burst * period
  local ahead = min(max(0, (state.ends - now) * limit - state.one), all)
  local wanted = ahead + period
  if wanted > all then return false, floor((all - ahead) / period), ceil((wanted - all) / limit) end
  local left = ceil(wanted / limit)
  state.ends, state.one = now + left, left * limit - wanted
  return true, floor((all - wanted) / period), left
end

local function sliding_window(state, now, limit, period)
  local began, count, before = state.ends - 2 * period, state.one, state.two
  if now >= state.ends then began, count, before = now, 0, 0
  elseif now >= began + period then began, count, before = began + period, 0, count
  elseif now < began then began = now end
  local room = (limit - count) * period - before * (period - (now - began))
  if period > room then
    local since = now - began
    if count + 1 > limit then since, before, count = since - period, count, 0 end
    return false, max(0, floor(room / period)), period - floor((limit - count - 1) * period / before) - since
  end
  state.ends, state.one, state.two = began + 2 * period, count + 1, before
  return true, floor(room / period) - 1, state.ends - now
end

local steps = {f = fixed_window, g = gcra, s = sliding_window}
local states, reply, passes = {}, {}, true
for i, key in ipairs(KEYS) do
  local kind, limit, period = ARGV[5 * i - 4], ARGV[5 * i - 3] + 0, ARGV[5 * i - 2] + 0
  local burst, unit = ARGV[5 * i - 1] + 0, ARGV[5 * i] + 0
  local now, since = floor(microseconds / unit), microseconds % unit
  local state = states[key]
  if not state then
    state = {kind = kind, now = now, unit = unit}
    states[key] = state
    local text = call('GET', key)
    if kind == 'f' then
      state.count, state.left, state.taken = tonumber(text or 0), call('PTTL', key), 0
      if not state.count or state.count % 1 ~= 0 or state.count >= most or state.count <= -most then return no_count end
      if state.left < 0 or state.left >= period then state.left, state.fresh = period - 1, true end
    else
      local ends, one, two = string.match(text or '0 0 0', '^(%d+) (%d+) (%d+)$')
      if not ends then return no_count end
      state.ends, state.one, state.two = ends + 0, one + 0, two + 0
    end
  end
  local allowed, remaining, reset = steps[kind](state, now, limit, period, burst)
  passes = passes and allowed
  if kind == 'f' then since = 0 end
  reply[i] = string.format('%d %.0f %.0f', allowed and 1 or 0, remaining, reset * unit - since)
end
if passes then
  for key, state in pairs(states) do
    if state.kind == 'f' then
      call('INCRBY', key, state.taken)
      if state.fresh then call('PEXPIRE', key, state.left) end
    else
      local text = string.format('%.0f %.0f %.0f', state.ends, state.one, state.two)
      local left = ceil((state.ends - state.now) * state.unit / 1000) + 1
      call('SET', key, text, 'PX', string.format('%.0f', left))
    end
  end
end
return redis.status_reply(table.concat(reply, ' '))
"""
KINDS = {"fixed_window": b"f", "gcra": b"g", "sliding_window": b"s"}
