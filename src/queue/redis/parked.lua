-- ARGV: id to begin after, limit. Answers {id, dead letter, ...}.
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'parked_ids', '(' .. ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])) do
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', P .. 'parked', id)
end
return found
