-- ARGV: number of settles, then per settle: lane, fence, done, then ('release', 'park', 'defer', 'retry'), number (entries to
-- park, or the wait), '1' to freeze, group of the cause, cause. Answers the number of the write, then 1 or 0 per settle.
local answer = {0}
local names = {}
for number = 0, tonumber(ARGV[3]) - 1 do names[number + 1] = ARGV[4 + number * 8] end
preload(names)
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  local lane, fence, done, what, number, freeze, cause_group, cause =
    ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3], tonumber(ARGV[at + 4]), ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  at = at + 8
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
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
answer[1] = num(written())
flush()
return answer
