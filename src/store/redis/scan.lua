-- Live rows of one family in the order of their keys.
-- KEYS: meta, rows, index. ARGV: generation, prefix, key to begin after ('' for the prefix itself), limit.
-- Answers {key, row, ...}.
local generation = redis.call('HGET', KEYS[1], 'generation')
if generation ~= ARGV[1] then
  return redis.error_reply('CRMSYNCGONE ' .. (generation and ('generation ' .. generation) or 'none'))
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local prefix, limit = ARGV[2], tonumber(ARGV[4])
local from = ARGV[3] ~= '' and '(' .. ARGV[3] or '[' .. prefix
local found = {}
while #found < limit * 2 do
  local keys = redis.call('ZRANGEBYLEX', KEYS[3], from, '+', 'LIMIT', 0, math.min(limit, 1000))
  if #keys == 0 then return found end
  for _, key in ipairs(keys) do
    if string.sub(key, 1, #prefix) ~= prefix then return found end
    local row = redis.call('HGET', KEYS[2], key)
    local ends = row and string.match(row, '^%d+:(%-?%d*):')
    if ends and (ends == '' or tonumber(ends) > now) then
      found[#found + 1] = key
      found[#found + 1] = row
      if #found >= limit * 2 then return found end
    end
    from = '(' .. key
  end
end
return found
