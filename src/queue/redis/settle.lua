-- ARGV: number of runs, then per run of settles that have it in common: their number, entries done, then ('release', 'park',
-- 'defer', 'retry'), number (entries to park, or the wait), '1' to freeze, group of the cause, cause, '1' if no other settle of
-- the call has one of these lanes; then per settle lane and fence. Answers the number of the write, then 1 or 0 per settle.
local answer, lanes, count = {0}, {}, 0
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  local after = at + 7 + tonumber(ARGV[at]) * 2
  for place_ = at + 8, after, 2 do
    count = count + 1
    lanes[count] = ARGV[place_]
  end
  at = after + 1
end
local held = fetch('HMGET', LANES, lanes)

-- Any settle: 1 if the lease was held.
local function settle(lane, fence, done, what, number, freeze, cause_group, cause)
  local state = load(lane)
  if state and state.f == fence and state.u > now then
    local ids, scopes = state.i, state.c
    done = math.min(done, #ids)
    local head = head_of(lane, state)
    local function take(id, scope)
      hset(ENTRIES, id, false)
      drop_id(lane, state, id)
      zset(P .. 'scope:' .. scope, id, false)
    end
    for place_ = 1, done do take(ids[place_], scopes[place_]) end
    state.u, state.i, state.c, state.d, state.w = 0, {}, {}, 0, 0
    local next_ = head_of(lane, state)
    if next_ ~= head then state.a = 0 end
    local left = #ids - done
    if what == 'defer' then
      state.w = now + number
    elseif what == 'retry' and left > 0 then
      state.w = now + number
      state.a = state.a + 1
    elseif what == 'park' and left > 0 then
      local head_ = next_
      for place_ = done + 1, math.min(#ids, done + math.max(number, 1)) do
        local id = ids[place_]
        local raw = entry_of(id)
        take(id, scopes[place_])
        local attempts = id == head_ and state.a or 0
        redis.call('HSET', P .. 'parked', id,
          num(now) .. '\n' .. attempts .. '\n' .. freeze .. '\n' .. cause_group .. '\n' .. lane .. '\n' .. cause .. '\n' .. raw)
        redis.call('ZADD', P .. 'parked_ids', id, id)
        if freeze == '1' then
          state.z = state.z + 1
          redis.call('SADD', P .. 'frozen', lane)
        end
      end
      next_ = head_of(lane, state)
      if next_ ~= head_ then state.a = 0 end
    end
    place(lane, state, next_)
    return 1
  end
  return 0
end

-- Lanes whose only entry is done: they go.
local gone, ids, ids_of = {}, {}, {}
at, count = 4, 0
for _ = 1, tonumber(ARGV[3]) do
  local done, what, number, freeze = tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4]
  local cause_group, cause, alone = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local after = at + 7 + tonumber(ARGV[at]) * 2
  for place_ = at + 8, after, 2 do
    count = count + 1
    local lane, raw = ARGV[place_], held[count]
    if raw and alone == '1' and done > 0 and string.byte(raw) == 69 then
      local f, u, head, scope = string.match(raw, '^E(%d+)\n(%d+)\n(%d+)\n(.*)$')
      if f == ARGV[place_ + 1] and tonumber(u) > now then
        local of = ids_of[scope] or {}
        ids_of[scope], of[#of + 1] = of, head
        gone[#gone + 1] = lane
        ids[#ids + 1] = head
        answer[count + 1] = 1
      else
        answer[count + 1] = 0
      end
    else
      know(lane, raw)
      answer[count + 1] = settle(lane, tonumber(ARGV[place_ + 1]), done, what, number, freeze, cause_group, cause)
    end
  end
  at = after + 1
end
send('HDEL', ENTRIES, ids)
send('HDEL', LANES, gone)
send('ZREM', P .. 'leases', gone)
for scope, of in pairs(ids_of) do send('ZREM', P .. 'scope:' .. scope, of) end
answer[1] = num(written())
flush()
return answer
