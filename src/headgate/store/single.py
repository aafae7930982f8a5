"""The scripts of Redis for requests under one limit that is no fixed window: a third cheaper than the general one.

Each is what the script in general.py does for such a limit, written out; it shares its keys and its answers' form. They
decide limits whose unit is the microsecond and whose numbers in answers have at most 13 digits (Lua writes no more
exactly, unless it is told to, which costs), that neither delay nor count what they refuse, and requests of cost 1. A
value that is none of theirs, such as that of a ban, is an error: then the general script is asked.

LEASE takes up to so many places of one fixed window at once (`lease.py`), and says last how many it took.
"""

GCRA = b"""\
local call, key, ceil, floor = redis.call, KEYS[1], math.ceil, math.floor
local limit, period, all = ARGV[1] + 0, ARGV[2] + 0, ARGV[3] + 0
local time, text = call('TIME'), call('GET', key)
local now, wanted = time[1] * 1000000 + time[2], period
if text then
  local ends, one = string.match(text, '^(%d+) (%d+) 0$')
  if not ends then return {err = 'ERR value is not an integer'} end
  local ahead = math.min((ends - now) * limit - one, ARGV[4] + 0)
  if ahead > 0 then wanted = ahead + period end
end
if wanted > all then
  local rest = math.max(0, floor((all - wanted + period) / period))
  return redis.status_reply('0 ' .. rest .. ' ' .. ceil((wanted - all) / limit))
end
local left = ceil(wanted / limit)
call('PSETEX', key, ceil(left / 1000) + 1, string.format('%.0f %.0f 0', now + left, left * limit - wanted))
return redis.status_reply('1 ' .. floor((all - wanted) / period) .. ' ' .. left)
"""
SLIDING_WINDOW = b"""\
local call, key, floor = redis.call, KEYS[1], math.floor
local limit, period = ARGV[1] + 0, ARGV[2] + 0
local time, text = call('TIME'), call('GET', key)
local now = time[1] * 1000000 + time[2]
local began, count, before = now, 0, 0
if text then
  local ends, one, two = string.match(text, '^(%d+) (%d+) (%d+)$')
  if not ends then return {err = 'ERR value is not an integer'} end
  began, count, before = ends - 2 * period, one + 0, two + 0
  if now >= began + 2 * period then began, count, before = now, 0, 0
  elseif now >= began + period then began, count, before = began + period, 0, count
  elseif now < began then began = now end
end
local since = now - began
local room = (limit - count) * period - before * (period - since)
if period > room then
  local rest = math.max(0, floor(room / period))
  if count + 1 > limit then since, before, count = since - period, count, 0 end
  local reset = period - floor((limit - count - 1) * period / before) - since
  return redis.status_reply('0 ' .. rest .. ' ' .. reset)
end
local ends = began + 2 * period
call('PSETEX', key, math.ceil((ends - now) / 1000) + 1, string.format('%.0f %.0f %.0f', ends, count + 1, before))
return redis.status_reply('1 ' .. floor(room / period) - 1 .. ' ' .. ends - now)
"""
LEASE = b"""\
local call, key = redis.call, KEYS[1]
local limit, period, n, most = ARGV[1] + 0, ARGV[2] + 0, ARGV[3] + 0, 9007199254740991
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
SOURCES = {"gcra": GCRA, "sliding_window": SLIDING_WINDOW}
