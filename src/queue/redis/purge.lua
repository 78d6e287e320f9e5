-- Erases lanes. ARGV: lanes. Answers the number of the write and how many entries.
local count = 0
for at = 3, #ARGV do
  local lane = ARGV[at]
  local state = load(lane)
  if state then
    while true do
      local ids = redis.call('ZRANGE', P .. 'lane:' .. lane, 0, 999)
      if #ids == 0 then break end
      count = count + #ids
      for _, id in ipairs(ids) do
        local _, _, _, group = fields(redis.call('HGET', P .. 'entries', id))
        redis.call('ZREM', P .. 'scope:' .. scope_of(group), id)
      end
      redis.call('HDEL', P .. 'entries', unpack(ids))
      redis.call('ZREM', P .. 'lane:' .. lane, unpack(ids))
    end
    unplace(lane, state)
    redis.call('ZREM', P .. 'leases', lane)
    redis.call('SREM', P .. 'frozen', lane)
    redis.call('HDEL', P .. 'lanes', lane)
  end
end
return {num(written()), count}
