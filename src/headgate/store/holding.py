"""The scripts of Redis for limits on what is in flight, but for the decisions, which are in plain.py and general.py.

A key of such a limit is a hash, `holder -> count ends`, both as doubles (`holders.py` says what a holder is). Holders
whose time is over are left out wherever the key is read, and removed when a request looks at it. A ban is a holder of
nothing, `ban`. A holder's time, and so the key's, begins anew when a sixth of it is over, and not with every request,
for that is half of the cost; who gave back all he had stays there with nothing until it is over. The term is the same
for all, so a key lives for as long as the one who spoke last, or for as long as a ban.
"""

# Gives back so many, and puts right what the holder has: so many at least, and so many more at the most.
SAY = b"""\
local call, pack = redis.call, struct.pack
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local key, holder, term, least = KEYS[1], ARGV[1], ARGV[2] + 0, ARGV[4] + 0
if ARGV[6] then call('HDEL', key, unpack(ARGV, 6)) end
local count, ends, value = 0, 0, call('HGET', key, holder)
if value and #value == 16 then count, ends = struct.unpack('<dd', value) end
count = math.min(math.max(count - ARGV[3], least), least + ARGV[5])
local left = ends - now  -- more than the term, where the clock was set back
if count > 0 and (left < 5 / 6 * term or left > term) then
  local ban = call('HGET', key, 'ban')
  local life = math.max(term, ban and #ban == 16 and struct.unpack('<d', ban, 9) - now or 0)
  call('HSET', key, holder, pack('<dd', count, now + term))
  call('PEXPIRE', key, life)
elseif count > 0 or ends > now then call('HSET', key, holder, pack('<dd', count, ends))
elseif value then call('HDEL', key, holder) end
return {ok = 'OK'}
"""
BAN = b"""\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'ban', struct.pack('<dd', 0, now + ARGV[1]))
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), ARGV[1] + 0))
return redis.status_reply('OK')
"""
# What operators do besides: the first answers as counts.py has it, the second says whether there was a ban, the third
# removes also what no holder can have written, and says how much there was.
LOOK = b"""\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held, fields = 0, redis.call('HGETALL', KEYS[1])
for f = 1, #fields, 2 do
  if #fields[f + 1] ~= 16 then return {err = 'ERR value is not an integer'} end
  local count, ends = struct.unpack('<dd', fields[f + 1])
  if ends > now then
    if fields[f] == 'ban' then return {time[1], time[2], ends - now, 'ban'} end
    held = held + count
  end
end
return {time[1], time[2], 0, string.format('%.0f', held)}
"""
UNBAN = b"return redis.call('HDEL', KEYS[1], 'ban')\n"
RESET = b"""\
local key, gone = KEYS[1], 0
local fields = redis.pcall('HGETALL', key)
if fields.err then return redis.call('DEL', key) end
for f = 1, #fields, 2 do
  local name, ours = fields[f], #fields[f + 1] == 16 and #fields[f] == 16 and not string.find(fields[f], '[^0-9a-f]')
  if ours then
    local count, ends = struct.unpack('<dd', fields[f + 1])
    ours = count == count and ends == ends  -- numbers
  end
  if not ours then gone = gone + redis.call('HDEL', key, name) end
end
return gone
"""
