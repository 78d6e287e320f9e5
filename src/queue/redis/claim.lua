-- ARGV: lanes, entries, length of the lease, number of scopes to skip, the scopes, number of kinds, the kinds.
-- Answers the number of the write, store time, then per lease: lane, fence, deliveries, attempts, number of entries, and id and
-- entry of each.
local lanes, entries, ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local skip, kinds, any = {}, {}, true
local at = 7
for _ = 1, tonumber(ARGV[6]) do skip[ARGV[at]] = true; at = at + 1 end
for _ = 1, tonumber(ARGV[at]) do at = at + 1; kinds[ARGV[at]] = true; any = false end
local known = {}
local function wants(group)
  if known[group] == nil then
    local scope, kind = string.match(group, '^([^/]*)/(.*)$')
    known[group] = not skip[scope] and (any or kinds[kind] == true)
  end
  return known[group]
end
-- Lanes whose time has come; bounded, so that no claim is slow because many come due at once.
for _, key in ipairs({P .. 'later', P .. 'leases'}) do
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', num(now), 'LIMIT', 0, 5000)
  preload(due)
  for _, lane in ipairs(due) do place(lane, load(lane)) end
end
flush()
local found = {}
for _, group in ipairs(redis.call('SMEMBERS', P .. 'groups')) do
  if wants(group) then
    local best = redis.call('ZRANGE', P .. 'ready:' .. group, 0, lanes - 1, 'WITHSCORES')
    for place_ = 1, #best, 2 do found[#found + 1] = {best[place_], tonumber(best[place_ + 1])} end
  end
end
table.sort(found, function(one, other) return one[2] < other[2] end)
local answer = {0, num(now)}
local fence = tonumber(redis.call('HGET', meta, 'fence') or '0')
local expires = now + ttl
local names = {}
for number = 1, math.min(#found, lanes) do names[number] = found[number][1] end
local held = fetch('HMGET', LANES, names)
-- The only or first entries, read together where they are known.
local groups, heads, place_of = {}, {}, {}
for number, lane in ipairs(names) do
  local raw, head = held[number], nil
  if raw and string.byte(raw) == 82 then
    groups[number], head = string.match(raw, '^R([^\n]*)\n(%d+)$')
  else
    know(lane, raw)
    local state = load(lane)
    if state.m == 0 then head = state.h end
  end
  if head then
    heads[#heads + 1] = head
    place_of[number] = #heads
  end
end
local raws = fetch('HMGET', ENTRIES, heads)
local till, n = num(expires), #answer
local taken, leased, made, k = {}, {}, {}, 0
for number, lane in ipairs(names) do
  local group = groups[number]
  if group then
    -- Ready since it was made: nothing to compute.
    local head = heads[place_of[number]]
    fence = fence + 1
    k = k + 2
    local of = taken[group] or {}
    taken[group], of[#of + 1] = of, lane
    leased[k - 1], leased[k] = till, lane
    made[k - 1], made[k] = lane, 'E' .. num(fence) .. '\n' .. till .. '\n' .. head .. '\n' .. scope_of(group)
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4], answer[n + 5], answer[n + 6], answer[n + 7] =
      lane, fence, 1, 0, 1, head, raws[place_of[number]]
    n = n + 7
  else
    local state = load(lane)
    local ids, scopes, entry = {}, {}, n + 5
    for _, id in ipairs(first_ids(lane, state, entries)) do
      local raw = #ids == 0 and place_of[number] and raws[place_of[number]] or redis.call('HGET', ENTRIES, id)
      local _, nb, _, of = fields(raw)
      if tonumber(nb) > now or not wants(of) then break end
      answer[entry + 1], answer[entry + 2] = id, raw
      entry = entry + 2
      ids[#ids + 1] = id
      scopes[#scopes + 1] = scope_of(of)
    end
    if #ids > 0 then
      fence = fence + 1
      state.f, state.u, state.i, state.c, state.d = fence, expires, ids, scopes, state.d + 1
      place(lane, state, ids[1])
      answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4], answer[n + 5] = lane, fence, state.d, state.a, #ids
      n = entry
    else
      -- The server's clock was set back since the head came due.
      place(lane, state)
    end
  end
end
send('ZADD', P .. 'leases', leased)
send('HSET', LANES, made)
for group, of in pairs(taken) do
  send('ZREM', P .. 'ready:' .. group, of)
  if redis.call('EXISTS', P .. 'ready:' .. group) == 0 then redis.call('SREM', P .. 'groups', group) end
end
if n > 2 then
  redis.call('HSET', meta, 'fence', num(fence))
  answer[1] = num(written())
else
  answer[1] = num(last)
end
flush()
return answer
