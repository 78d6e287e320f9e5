-- Erases lanes. ARGV: lanes. Answers the number of the write and how many entries.
local count = 0
for at = 3, #ARGV do
  local lane = ARGV[at]
  local state = load(lane)
  if state then
    while true do
      local ids = first_ids(lane, state, 1000)
      if #ids == 0 then break end
      count = count + #ids
      for _, id in ipairs(ids) do
        local _, _, _, group = fields(redis.call('HGET', ENTRIES, id))
        zset(P .. 'scope:' .. scope_of(group), id, false)
        hset(ENTRIES, id, false)
        drop_id(lane, state, id)
      end
    end
    unplace(lane, state)
    redis.call('SREM', P .. 'frozen', lane)
    states[lane], dirty[lane] = false, true
  end
end
flush()
return {num(written()), count}
