"""The script of Redis for every algorithm, and for requests under limits of several ones.

It is `headgate.limits` on the clock of Redis, in whole numbers of a unit of time (`limits/meter.py`), which a Lua
double holds exactly up to 2**53. Keys and what they hold are those of the scripts in plain.py: a fixed window is a
number that expires with it, the others a letter and three doubles, `ends` and two that are the algorithm's. All
limits of a request are checked, then all are taken, or none; but where refused requests count (mode `r`) each counts.
In that mode a cost is also taken without asking, or given back when it is below 0. What a clock that was set back made
end too late is cut, as the algorithms say, by a refused request too.
A banned key has the word `ban` for its value, whatever its algorithm. What is in flight is kept as holders.py says;
in such a limit's arguments the period is the term in milliseconds, and the burst is who asks.
The answer is one line, `verdict remaining reset_after` for each limit: 0 is refused, 1 allowed, 3 banned, 4 allowed and
held; 2 is allowed after a delay, which stands in the place of what remains (nothing does then).
"""

SOURCE = b"""\
local call, floor, ceil, max, min = redis.call, math.floor, math.ceil, math.max, math.min
local no_count, most = {err = 'ERR value is not an integer'}, 9007199254740991
local time = call('TIME')
local microseconds = time[1] * 1000000 + time[2]

local function fixed_window(state, r)
  local rest, left = r.limit - state.count, state.left + 1
  if r.cost < 0 then
    local back = max(r.cost, -max(0, state.count))
    state.count, state.taken = state.count + back, state.taken + back
    return 1, max(0, rest - back), left
  end
  local passes = r.cost == 0 or r.cost <= rest
  if passes or r.counts then state.count, state.taken = state.count + r.cost, state.taken + r.cost end
  if passes then return 1, max(0, rest - r.cost), left end
  return 0, max(0, rest), left
end

local function gcra(state, r)
  local limit, period, delay = r.limit, r.period, r.delay
  local all = r.burst * period
  local bound = all + limit * max(period, delay)
  local ahead = max(0, (state.ends - r.now) * limit - state.one)
  if ahead > bound then  -- the clock was set back
    ahead = bound
    state.ends, state.one, state.cut = r.now + ceil(bound / limit), ceil(bound / limit) * limit - bound, true
  end
  local wanted = max(0, ahead + r.cost * period)
  local rest, late, verdict = max(0, floor((all - ahead) / period)), period, 1
  local possible = limit >= 1 and r.cost <= r.burst
  if possible then late = max(0, ceil((wanted - all) / limit)) end
  if not possible or wanted > all + delay * limit then
    if possible then late = late - delay end
    if not r.counts or limit < 1 then return 0, rest, late end
    verdict, wanted = 0, min(wanted, bound)
  end
  local left = ceil(wanted / limit)
  state.ends, state.one = r.now + left, left * limit - wanted
  if verdict == 0 then return 0, rest, late end
  if late > 0 then return 2, late, left end
  return 1, max(0, rest - r.cost), left
end

local function sliding_window(state, r)
  local limit, period, now, cost = r.limit, r.period, r.now, r.cost
  local began, count, before, verdict = state.ends - 2 * period, state.one, state.two, 1
  if now >= state.ends then began, count, before = now, 0, 0
  elseif now >= began + period then began, count, before = began + period, 0, count
  elseif now < began then began, state.ends, state.cut = now, now + 2 * period, true end
  local room = (limit - count) * period - before * (period - (now - began))
  local rest, reset = max(0, floor(room / period)), began + 2 * period - now
  if cost < 0 then
    if now >= state.ends then return 1, rest, reset end
    count = count + cost
    if count < 0 then count, before = 0, max(0, before + count) end
    state.ends, state.one, state.two = began + 2 * period, count, before
    return 1, rest, reset
  end
  if cost > 0 and cost * period > room then
    local since, c, b = now - began, count, before
    if cost > limit then reset = period
    else
      if c + cost > limit then since, b, c = since - period, c, 0 end
      reset = period - floor((limit - c - cost) * period / b) - since
    end
    if not r.counts then return 0, rest, reset end
    verdict, cost = 0, min(cost, 2 * limit - count)
  end
  state.ends, state.one, state.two = began + 2 * period, count + cost, before
  if verdict == 0 then return 0, rest, reset end
  return 1, max(0, rest - cost), reset
end

local function concurrency(state, r)
  local rest = r.limit - state.held
  if r.cost > rest and r.cost > 0 then return 0, max(0, rest), 0 end
  state.held, state.taken = state.held + r.cost, state.taken + r.cost
  return 4, max(0, rest - r.cost), 0
end

local function read_holders(key, state, now, holder)
  local fields = call('HGETALL', key)
  state.held, state.mine, state.taken, state.over = 0, 0, 0, {}
  for f = 1, #fields, 2 do
    if #fields[f + 1] ~= 16 then return false end
    local name, count, ends = fields[f], struct.unpack('<dd', fields[f + 1])
    if not (ends > now) then table.insert(state.over, name)
    else
      if name == 'ban' then state.banned = (ends - now) * 1000 end
      if name == holder then state.mine = count end
      state.held = state.held + count
    end
  end
  return state.held == state.held  -- a number
end

local steps = {f = fixed_window, g = gcra, s = sliding_window, c = concurrency}
local states, reply, passes = {}, {}, true
for i, key in ipairs(KEYS) do
  local a = 8 * (i - 1)
  local kind, unit = ARGV[a + 1], ARGV[a + 5] + 0
  local r = {limit = ARGV[a + 2] + 0, period = ARGV[a + 3] + 0, burst = tonumber(ARGV[a + 4]), delay = ARGV[a + 6] + 0,
    counts = ARGV[a + 7] == 'r', cost = ARGV[a + 8] + 0, now = floor(microseconds / unit)}
  local since, state = microseconds % unit, states[key]
  if kind == 'f' then since = 0 end
  if not state then
    state = {kind = kind, now = r.now, unit = unit, counts = r.counts}
    states[key] = state
    local text = kind ~= 'c' and call('GET', key)
    if kind == 'c' then
      state.holder, state.term = ARGV[a + 4], r.period
      if not read_holders(key, state, floor(microseconds / 1000), state.holder) then return no_count end
    elseif text == 'ban' then
      state.banned = max(1, call('PTTL', key)) * 1000
    elseif kind == 'f' then
      state.count, state.left, state.taken = tonumber(text or 0), call('PTTL', key), 0
      if not state.count or state.count % 1 ~= 0 or state.count >= most or state.count <= -most then return no_count end
      if state.left < 0 or state.left >= r.period then state.left, state.fresh = r.period - 1, true end
    else
      local letter
      state.ends, state.one, state.two, state.held = 0, 0, 0, text
      if text then
        if #text == 25 then letter, state.ends, state.one, state.two = struct.unpack('<Bddd', text) end
        if letter ~= string.byte(kind) then return no_count end
      end
    end
  end
  if state.banned then
    passes, reply[i] = false, string.format('3 0 %.0f', state.banned)
  else
    local verdict, remaining, reset = steps[kind](state, r)
    passes = passes and verdict > 0
    if verdict == 2 then remaining = remaining * unit - since end
    reply[i] = string.format('%d %.0f %.0f', verdict, remaining, max(0, reset * unit - since))
  end
end
for key, state in pairs(states) do
  for _, name in ipairs(state.over or {}) do call('HDEL', key, name) end
  local takes = passes or state.counts
  if not state.banned then
    if state.kind == 'f' then
      if takes and state.taken ~= 0 then call('INCRBY', key, state.taken) end
      if state.fresh then call('PEXPIRE', key, state.left) end
    elseif state.kind == 'c' then
      if takes and state.taken > 0 then
        local now = floor(microseconds / 1000)
        call('HSET', key, state.holder, struct.pack('<dd', state.mine + state.taken, now + state.term))
        call('PEXPIRE', key, state.term)
      end
    elseif state.ends > state.now and (takes or state.cut) then
      if state.kind == 'g' then state.two = state.ends end
      local text = struct.pack('<Bddd', string.byte(state.kind), state.ends, state.one, state.two)
      local left = ceil((state.ends - state.now) * state.unit / 1000) + 1
      call('SET', key, text, 'PX', string.format('%.0f', left))
    elseif takes and state.held then
      call('DEL', key)
    end
  end
end
return redis.status_reply(table.concat(reply, ' '))
"""
KINDS = {"fixed_window": b"f", "gcra": b"g", "sliding_window": b"s", "concurrency": b"c"}
