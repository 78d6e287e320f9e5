-- The rows under some keys, of one moment.
-- KEYS: meta, then the rows of each family. ARGV: generation, then pairs of family and key.
-- Answers {now, row or false, ...}.
local generation = redis.call('HGET', KEYS[1], 'generation')
if generation ~= ARGV[1] then
  return redis.error_reply('CRMSYNCGONE ' .. (generation and ('generation ' .. generation) or 'none'))
end
local time = redis.call('TIME')
local found = {string.format('%.0f', time[1] * 1000000 + time[2])}
for at = 2, #ARGV, 2 do
  found[#found + 1] = redis.call('HGET', KEYS[ARGV[at] + 1], ARGV[at + 1])
end
return found
