-- ARGV: window, number of runs, then per run of entries that have it in common: their number, not before, rank, group, joining
-- key ('' for none), 't' if the new payload stays, '1' if no other entry of the call has one of these lanes; then per entry lane,
-- op, mapping and payload. Op ids of one call differ. Answers the number of the write, then per entry 0 for an op id that is
-- known, the id of a new entry, or the id of the joined one as a negative number.
local ops, window, runs = P .. 'ops', tonumber(ARGV[3]), tonumber(ARGV[4])
-- More than come with it, so that they do not become ever more.
send('ZREM', ops, redis.call('ZRANGEBYSCORE', ops, '-inf', num(now), 'LIMIT', 0, math.max(1000, #ARGV)))
local id = tonumber(redis.call('HGET', meta, 'id') or '0')
local stamp, till = num(now), num(now + window)
local lanes, names, count = {}, {}, 0
local at = 5
for _ = 1, runs do
  local after = at + 6 + tonumber(ARGV[at]) * 3
  for place_ = at + 7, after, 3 do
    count = count + 1
    lanes[count], names[count] = ARGV[place_], ARGV[place_ + 1]
  end
  at = after + 1
end
local known, held = fetch('ZMSCORE', ops, names), fetch('HMGET', LANES, lanes)

local answer, scopes = {0}, {}
-- Of new lanes with one entry that may go at once nothing is kept but what is written in the end.
local marks, rows, made, ids_of, ready_of, k = {}, {}, {}, {}, {}, 0

-- Any entry: the outcome.
local function add(lane, op, nb, rank, group, coal, takes, rest)
  zset(ops, op, till)
  local state = load(lane)
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
        return -tonumber(tail)
      end
    end
  end
  id = id + 1
  local name = num(id)
  hset(ENTRIES, name, stamp .. '\n' .. nb .. '\n' .. rank .. '\n' .. group .. '\n' .. coal .. '\n' .. op .. '\n' .. rest)
  local scope = scope_of(group)
  zset(P .. 'scope:' .. scope, name, id)
  scopes[scope] = true
  state = state or fresh()
  local first = head_of(lane, state) == nil
  add_id(lane, state, name)
  states[lane], dirty[lane] = state, true
  -- A lane that has a head keeps it.
  if first then place(lane, state, name, nb, rank, group) end
  return id
end

at, count = 5, 0
for _ = 1, runs do
  local nb, rank, group, coal, takes, alone = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
  local after = at + 6 + tonumber(ARGV[at]) * 3
  local start = stamp .. '\n' .. nb .. '\n' .. rank .. '\n' .. group .. '\n' .. coal .. '\n'
  local short, base, plain = 'R' .. group .. '\n', rank * RANK, alone == '1' and nb == '0'
  local scope = scope_of(group)
  local ids, ready = ids_of[scope] or {}, ready_of[group] or {}
  ids_of[scope], ready_of[group] = ids, ready
  local r = #ready
  for place_ = at + 7, after, 3 do
    count = count + 1
    local score = known[count]
    if score and tonumber(score) > now then
      answer[count + 1] = 0
    elseif plain and not held[count] then
      local lane, op = ARGV[place_], ARGV[place_ + 1]
      id = id + 1
      local name = num(id)
      k, r = k + 2, r + 2
      marks[k - 1], marks[k] = till, op
      rows[k - 1], rows[k] = name, start .. op .. '\n' .. ARGV[place_ + 2]
      made[k - 1], made[k] = lane, short .. name
      ids[#ids + 1] = name
      ids[#ids + 1] = name
      ready[r - 1], ready[r] = base + id, lane
      answer[count + 1] = id
    else
      know(ARGV[place_], held[count])
      answer[count + 1] = add(ARGV[place_], ARGV[place_ + 1], nb, rank, group, coal, takes, ARGV[place_ + 2])
    end
  end
  at = after + 1
end
send('ZADD', ops, marks)
send('HSET', ENTRIES, rows)
send('HSET', LANES, made)
for group, ready in pairs(ready_of) do
  if #ready > 0 then
    send('ZADD', P .. 'ready:' .. group, ready)
    redis.call('SADD', P .. 'groups', group)
  end
end
for scope, ids in pairs(ids_of) do
  if #ids > 0 then
    send('ZADD', P .. 'scope:' .. scope, ids)
    scopes[scope] = true
  end
end
for scope in pairs(scopes) do redis.call('SADD', P .. 'scopes', scope) end
redis.call('HSET', meta, 'id', num(id))
answer[1] = num(written())
flush()
return answer
