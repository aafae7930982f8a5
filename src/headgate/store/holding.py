"""The scripts of Redis for limits on what is in flight, but for the decision itself, which is in general.py.

A key of such a limit is a hash, `holder -> count ends` (`holders.py` says what a holder is). Holders whose time is over
are left out wherever the key is read, and removed when a request looks at it. A ban is a holder of nothing, `ban`.
"""

# Gives back so many, and puts right what the holder has: so many at least, and so many more at the most.
SAY = b"""\
local call, match, max = redis.call, string.match, math.max
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, holder, term, least = KEYS[1], ARGV[1], ARGV[2] + 0, ARGV[4] + 0
if ARGV[6] then call('HDEL', key, unpack(ARGV, 6)) end
local count = tonumber(match(call('HGET', key, holder) or '', '^%d+') or 0)
count = math.min(max(count - ARGV[3], least), least + ARGV[5])
if count > 0 then
  call('HSET', key, holder, string.format('%.0f %.0f', count, now + term))
  local ban = tonumber(match(call('HGET', key, 'ban') or '', '%d+$') or 0)
  call('PEXPIRE', key, string.format('%.0f', max(term, ban - now)))
else
  call('HDEL', key, holder)
end
return redis.status_reply('OK')
"""
BAN = b"""\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'ban', string.format('0 %.0f', now + ARGV[1]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(redis.call('PTTL', KEYS[1]), ARGV[1] + 0)))
return redis.status_reply('OK')
"""
# What operators do besides: the first answers as counts.py has it, the second says whether there was a ban.
LOOK = b"""\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held, fields = 0, redis.call('HGETALL', KEYS[1])
for f = 1, #fields, 2 do
  local count, ends = string.match(fields[f + 1], '^(%d+) (%d+)$')
  if not ends then return {err = 'ERR value is not an integer'} end
  if ends + 0 > now then
    if fields[f] == 'ban' then return {time[1], time[2], ends - now, 'ban'} end
    held = held + count
  end
end
return {time[1], time[2], 0, string.format('%.0f', held)}
"""
UNBAN = b"return redis.call('HDEL', KEYS[1], 'ban')\n"
