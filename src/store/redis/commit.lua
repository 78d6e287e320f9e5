-- One batch: checks every precondition, then does every mutation.
-- KEYS: meta, then rows, index and ends of each family the batch touches.
-- ARGV: generation, newest version the caller knows, number of preconditions, number of mutations,
--   per precondition: family, key, version ('' for absent),
--   per mutation: family, key, end ('d' to delete, '' for none), value.
-- A row is 'version:end:value'. Answers {0, place of the failed precondition} or {1, last version}.
local generation = redis.call('HGET', KEYS[1], 'generation')
if generation ~= ARGV[1] then
  return redis.error_reply('CRMSYNCGONE ' .. (generation and ('generation ' .. generation) or 'none'))
end
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
if last < tonumber(ARGV[2]) then
  return redis.error_reply('CRMSYNCBACK ' .. last)
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local conditions, mutations = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 5
for place = 1, conditions do
  local raw = redis.call('HGET', KEYS[ARGV[at] * 3 - 1], ARGV[at + 1])
  local version = ''
  if raw then
    local found, ends = string.match(raw, '^(%d+):(%-?%d*):')
    if ends == '' or tonumber(ends) > now then version = found end
  end
  if version ~= ARGV[at + 2] then return {0, place} end
  at = at + 3
end
if mutations == 0 then return {1, last} end
local swept = {}
for _ = 1, mutations do
  local first = ARGV[at] * 3 - 1
  local rows, index, ends = KEYS[first], KEYS[first + 1], KEYS[first + 2]
  local key, until_ = ARGV[at + 1], ARGV[at + 2]
  if swept[first] == nil then
    -- A bounded number of expired rows goes with each commit.
    local old = redis.call('ZRANGEBYSCORE', ends, '-inf', string.format('%.0f', now), 'LIMIT', 0, 1000)
    if #old > 0 then
      redis.call('HDEL', rows, unpack(old))
      redis.call('ZREM', index, unpack(old))
      redis.call('ZREM', ends, unpack(old))
    end
    swept[first] = redis.call('EXISTS', ends) == 1
  end
  if until_ == 'd' then
    if redis.call('HDEL', rows, key) == 1 then redis.call('ZREM', index, key) end
    if swept[first] then redis.call('ZREM', ends, key) end
  else
    last = last + 1
    if redis.call('HSET', rows, key, string.format('%.0f', last) .. ':' .. until_ .. ':' .. ARGV[at + 3]) == 1 then
      redis.call('ZADD', index, 0, key)
    end
    if until_ ~= '' then
      redis.call('ZADD', ends, until_, key)
      swept[first] = true
    elseif swept[first] then
      redis.call('ZREM', ends, key)
    end
  end
  at = at + 4
end
redis.call('HSET', KEYS[1], 'last', string.format('%.0f', last))
return {1, last}
