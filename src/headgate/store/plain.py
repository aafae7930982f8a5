"""The scripts of Redis for requests under plain limits of one algorithm, one or several: nearly all requests.

A limit is plain when a request passes at once or is refused, and counts, as one, only if it passes. Each script is what
the one in general.py does for such limits, written out; it shares its keys. All limits of a request are one call: all
are checked, then all are taken, or none.

What costs Redis time is told and kept in the cheapest way (us, in a script): numbers as doubles of the `struct` library
(0.05 to pack or unpack, against 0.2 to match a text and 0.4 to format one); a time to live is set when a key begins and
then kept (0.4 to write it, against 0.8); and where every limit is far from its end, more than a fifth of it is left
after the request, the answer is the one word `far`, for nobody wants to know more. Else it is a line: for each fixed
window `count reset_after`, where count is what the request makes it or would make it, for each other limit `verdict
remaining reset_after`. A limit that tells clients on each response what they have left is never far from its end.

- A fixed window is a number that expires with it, so Redis itself ends the window. A key lives as long as the clock
  shows no more than its last millisecond, hence `period - 1` when it is set and one more when it is told. Each key is
  counted at once and, if one of several limits refuses, given back: nobody else gets in between, and what passes needs
  no reading first. A request that a single limit refuses counts on in its key, which changes nothing: the key is over
  its limit and stays so until it expires. A key that lives for longer than a period, or for ever (a clock that was set
  back, somebody's PERSIST), is put right as soon as it is not far from its end: too strict once, and never too lax.
- GCRA and the sliding window keep a letter (in Lua its number: 103 is `g`, 115 is `s`) and three doubles: `ends` and
  two numbers that are the algorithm's, all whole, times in the limit's unit (`limits/meter.py`). A key of gcra has in
  the third how long it lives at least, a whole burst longer than it must: renewed once in that time.
- What is in flight is kept by who holds it (`holding.py`).

What a script is told of each limit are doubles, too, of which the last says how far from its end is far:

    FIXED_WINDOW    limit, period (ms), far: so many are counted at the most
    GCRA            limit, period, unit, burst * period, far: the schedule is so far ahead at the most
    SLIDING_WINDOW  limit, period, unit, far: there is so much room at least
    CONCURRENCY     limit, term (ms), far: as in a fixed window; after the limits it is told who asks

A value that is none of theirs, such as that of a ban, is an error, and so is one that ends too late since the clock was
set back: then the general script is asked, which knows bans, and cuts the other.

LEASE takes up to so many places of one fixed window at once (`lease.py`): it is told how many after the limit, and
says last how many it took.
"""

import struct

STATE = struct.Struct("<Bddd")  # of all algorithms but the fixed window and what is in flight
FAR = b"far"  # the answer where no limit is near its end

FIXED_WINDOW = b"""\
local call, pcall, unpack = redis.call, redis.pcall, struct.unpack
local counts, is_far, failure = {}, true, nil
for i, key in ipairs(KEYS) do
  local limit, period, far = unpack('<ddd', ARGV[i])
  local count = pcall('INCR', key)
  if type(count) ~= 'number' then
    failure = count
    break
  end
  counts[i] = count
  if count == 1 then call('PEXPIRE', key, period - 1) end
  if count > far or count < 1 then is_far = false end
end
if is_far and not failure then return {ok = 'far'} end
local reply, passes, most = {}, not failure, 9007199254740991
for i, count in ipairs(counts) do
  local limit, period = unpack('<ddd', ARGV[i])
  if count >= most or count <= -most then
    passes, failure = false, failure or {err = 'ERR value is not an integer'}
  end
  local left = period - 1
  if count > 1 then left = call('PTTL', KEYS[i]) end
  if left < 0 or left >= period then
    left = period - 1
    call('PEXPIRE', KEYS[i], left)
  end
  passes = passes and count <= limit
  reply[i] = string.format('%.0f %.0f', count, left + 1)
end
if not passes and #KEYS > 1 then
  for i = #counts, 1, -1 do
    if counts[i] == 1 then call('DEL', KEYS[i]) else call('DECR', KEYS[i]) end
  end
end
return failure or redis.status_reply(table.concat(reply, ' '))
"""
_TAKE = b"""\
if passes then
  for i, key in ipairs(KEYS) do
    if lives[i] then call('PSETEX', key, lives[i], states[i]) else call('SET', key, states[i], 'KEEPTTL') end
  end
end
if is_far then return {ok = 'far'} end
local reply = {}
"""
GCRA = (
    b"""\
local call, unpack, ceil, floor, max = redis.call, struct.unpack, math.ceil, math.floor, math.max
local time = call('TIME')
local microseconds = time[1] * 1000000 + time[2]
local wants, states, lives, is_far, passes = {}, {}, {}, true, true
for i, key in ipairs(KEYS) do
  local limit, period, unit, all, far = unpack('<ddddd', ARGV[i])
  local text, now, wanted, lasts = call('GET', key), floor(microseconds / unit), period, 0
  if text then
    local kind, ends, one, two = 0, 0, 0, 0
    if #text == 25 then kind, ends, one, two = unpack('<Bddd', text) end
    local ahead = (ends - now) * limit - one
    if kind ~= 103 or ahead > all + limit * period then return {err = 'ERR value is not an integer'} end
    if ahead > 0 then wanted = ahead + period end
    lasts = two
  end
  if wanted > far then is_far = false end
  if wanted > all then passes = false end
  local left = ceil(wanted / limit)
  local ends = now + left
  if ends > lasts then
    lasts = ends + ceil(all / limit)
    lives[i] = ceil((lasts - now) * unit / 1000) + 1
  end
  wants[i], states[i] = wanted, struct.pack('<Bddd', 103, ends, left * limit - wanted, lasts)
end
"""
    + _TAKE
    + b"""\
for i, wanted in ipairs(wants) do
  local limit, period, unit, all = unpack('<ddddd', ARGV[i])
  local verdict, rest, left = 1, floor((all - wanted) / period), wanted
  if wanted > all then verdict, rest, left = 0, max(0, rest + 1), wanted - all end
  reply[i] = string.format('%d %.0f %.0f', verdict, rest, max(0, ceil(left / limit) * unit - microseconds % unit))
end
return redis.status_reply(table.concat(reply, ' '))
"""
)
SLIDING_WINDOW = (
    b"""\
local call, unpack, floor, max = redis.call, struct.unpack, math.floor, math.max
local time = call('TIME')
local microseconds = time[1] * 1000000 + time[2]
local rooms, states, lives, is_far, passes = {}, {}, {}, true, true
for i, key in ipairs(KEYS) do
  local limit, period, unit, far = unpack('<dddd', ARGV[i])
  local text, now, kind, ends, count, before = call('GET', key), floor(microseconds / unit), 0, 0, 0, 0
  if text then
    if #text == 25 then kind, ends, count, before = unpack('<Bddd', text) end
    if kind ~= 115 then return {err = 'ERR value is not an integer'} end
  end
  local begins = now >= ends - period
  if now >= ends then ends, count, before = now + 2 * period, 0, 0
  elseif begins then ends, count, before = ends + period, 0, count
  elseif ends - now > 2 * period then return {err = 'ERR value is not an integer'} end
  local room = (limit - count) * period - before * (ends - now - period)
  if room < far then is_far = false end
  if room < period then passes = false end
  if begins then lives[i] = math.ceil((ends - now) * unit / 1000) + 1 end
  rooms[i], states[i] = room, struct.pack('<Bddd', 115, ends, count + 1, before)
end
"""
    + _TAKE
    + b"""\
for i, room in ipairs(rooms) do
  local limit, period, unit = unpack('<dddd', ARGV[i])
  local _, ends, taken, before = unpack('<Bddd', states[i])
  local verdict, rest, left = 1, floor(room / period) - 1, ends - floor(microseconds / unit)
  if room < period then
    local count, since = taken - 1, 2 * period - left
    if taken > limit then since, before, count = since - period, count, 0 end
    verdict, rest, left = 0, max(0, rest + 1), period - floor((limit - count - 1) * period / before) - since
  end
  reply[i] = string.format('%d %.0f %.0f', verdict, rest, max(0, left * unit - microseconds % unit))
end
return redis.status_reply(table.concat(reply, ' '))
"""
)
CONCURRENCY = b"""\
local call, unpack = redis.call, struct.unpack
local time = call('TIME')
local now, holder = time[1] * 1000 + math.floor(time[2] / 1000), ARGV[#KEYS + 1]
local totals, states, lives, is_far, passes = {}, {}, {}, true, true
for i, key in ipairs(KEYS) do
  local limit, term, far = unpack('<ddd', ARGV[i])
  local fields, total, mine, ends = call('HGETALL', key), 1, 0, 0
  for f = 1, #fields, 2 do
    local name, count, last = fields[f], 0, nil
    if #fields[f + 1] == 16 then count, last = unpack('<dd', fields[f + 1]) end
    if not last or name == 'ban' then return {err = 'ERR value is not an integer'} end
    if last > now then
      if name == holder then mine, ends = count, last end
      total = total + count
    else call('HDEL', key, name) end
  end
  if not (total <= far) then
    if total ~= total then return {err = 'ERR value is not an integer'} end  -- somebody else's, which is no number
    is_far = false
  end
  if total > limit then passes = false end
  if ends - now < 5 / 6 * term then ends, lives[i] = now + term, term end
  totals[i], states[i] = total, struct.pack('<dd', mine + 1, ends)
end
if passes then
  for i, key in ipairs(KEYS) do
    call('HSET', key, holder, states[i])
    if lives[i] then call('PEXPIRE', key, lives[i]) end
  end
end
if is_far then return {ok = 'far'} end
local reply = {}
for i, total in ipairs(totals) do
  local rest = unpack('<d', ARGV[i]) - total
  reply[i] = string.format('%d %.0f 0', rest < 0 and 0 or 4, math.max(0, rest))
end
return redis.status_reply(table.concat(reply, ' '))
"""
LEASE = b"""\
local call, key, n, most = redis.call, KEYS[1], ARGV[2] + 0, 9007199254740991
local limit, period = struct.unpack('<ddd', ARGV[1])
local count, left = call('INCRBY', key, n), -1
if count >= most or count <= -most then return {err = 'ERR value is not an integer'} end
if count > n then left = call('PTTL', key) end
if left < 0 or left >= period then
  left = period - 1
  call('PEXPIRE', key, left)
end
local over = math.min(n, math.max(0, count - limit))
if over > 0 then call('DECRBY', key, over) end
if over == n then return redis.status_reply('0 0 ' .. left + 1 .. '000') end
return redis.status_reply('1 ' .. math.max(0, limit - count) + n - over - 1 .. ' ' .. left + 1 .. '000 ' .. n - over)
"""
SOURCES = {
    "fixed_window": FIXED_WINDOW,
    "gcra": GCRA,
    "sliding_window": SLIDING_WINDOW,
    "concurrency": CONCURRENCY,
}
