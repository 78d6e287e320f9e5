-- Takes dead letters out. ARGV: '1' to put them back into their lanes, then ids. Answers the number of the write and how many.
local back, count = ARGV[3] == '1', 0
for at = 4, #ARGV do
  local id = ARGV[at]
  local raw = redis.call('HGET', P .. 'parked', id)
  if raw then
    count = count + 1
    local stamp, attempts, froze, group, lane, cause = string.match(raw, '^(%d+)\n(%d+)\n(%d)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n')
    redis.call('HDEL', P .. 'parked', id)
    redis.call('ZREM', P .. 'parked_ids', id)
    local state = load(lane) or fresh()
    if froze == '1' then
      state.z = math.max(state.z - 1, 0)
      if state.z == 0 then redis.call('SREM', P .. 'frozen', lane) end
    end
    if back then
      local entry = string.sub(raw, #stamp + #attempts + #froze + #group + #lane + #cause + 7)
      local head = head_of(lane, state)
      hset(ENTRIES, id, entry)
      add_id(lane, state, id)
      local _, _, _, entry_group = fields(entry)
      local scope = scope_of(entry_group)
      zset(P .. 'scope:' .. scope, id, id)
      redis.call('SADD', P .. 'scopes', scope)
      if head_of(lane, state) ~= head then state.a, state.w = 0, 0 end
    end
    place(lane, state)
  end
end
flush()
return {num(written()), count}
