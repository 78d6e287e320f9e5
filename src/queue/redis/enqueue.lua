-- ARGV: window, number of entries, then per entry: lane, op, not before, rank, group, joining key ('' for none), 't' if the
-- new payload stays, mapping and payload. Answers the number of the write, then per entry 'd', 'n' and an id, or 'c' and an id.
local ops, window, count = P .. 'ops', tonumber(ARGV[3]), tonumber(ARGV[4])
local old = redis.call('ZRANGEBYSCORE', ops, '-inf', num(now), 'LIMIT', 0, 1000)
if #old > 0 then redis.call('ZREM', ops, unpack(old)) end
local id = tonumber(redis.call('HGET', meta, 'id') or '0')
local stamp = num(now)
local scopes, answer = {}, {0}
local names, known = {}, {}
for number = 0, count - 1 do names[number + 1] = ARGV[5 + number * 8] end
preload(names)
for from = 0, count - 1, CHUNK do
  local batch = {}
  for number = from, math.min(from + CHUNK, count) - 1 do batch[#batch + 1] = ARGV[6 + number * 8] end
  for place_, score in ipairs(redis.call('ZMSCORE', ops, unpack(batch))) do
    if score and tonumber(score) > now then known[batch[place_]] = true end
  end
end
local at = 5
for _ = 1, count do
  local lane, op, nb, rank, group, coal, takes, rest =
    ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  at = at + 8
  local outcome
  if known[op] then
    outcome = 'd'
  else
    known[op] = true
    zset(ops, op, now + window)
  end
  local state = not outcome and load(lane) or nil
  if state and coal ~= '' then
    local tail = tail_of(lane, state)
    local raw = tail and entry_of(tail)
    if raw then
      local enq, old_nb, old_rank, old_group, old_coal = fields(raw)
      local leased = state.u > now and tostring(state.i[#state.i]) == tail
      if old_coal == coal and old_group == group and not leased then
        local new_nb = tonumber(nb) < tonumber(old_nb) and nb or old_nb
        local new_rank = tonumber(rank) < tonumber(old_rank) and rank or old_rank
        local from = #enq + #old_nb + #old_rank + #old_group + #old_coal + 6
        local old_op, old_rest = string.match(string.sub(raw, from), '^([^\n]*)\n(.*)$')
        hset(ENTRIES, tail, enq .. '\n' .. new_nb .. '\n' .. new_rank .. '\n' .. group .. '\n' .. coal .. '\n'
          .. old_op .. '\n' .. (takes == 't' and rest or old_rest))
        place(lane, state)
        outcome = 'c' .. tail
      end
    end
  end
  if not outcome then
    id = id + 1
    local name = num(id)
    hset(ENTRIES, name, stamp .. '\n' .. nb .. '\n' .. rank .. '\n' .. group .. '\n' .. coal .. '\n' .. op .. '\n' .. rest)
    local scope = scope_of(group)
    zset(P .. 'scope:' .. scope, name, id)
    if not scopes[scope] then
      scopes[scope] = true
      redis.call('SADD', P .. 'scopes', scope)
    end
    state = state or fresh()
    local first = head_of(lane, state) == nil
    add_id(lane, state, name)
    states[lane], dirty[lane] = state, true
    -- A lane that has a head keeps it.
    if first then place(lane, state, name, nb, rank, group) end
    outcome = 'n' .. name
  end
  answer[#answer + 1] = outcome
end
redis.call('HSET', meta, 'id', num(id))
answer[1] = num(written())
flush()
return answer
