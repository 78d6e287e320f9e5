-- ARGV: lanes, entries, length of the lease, number of scopes to skip, the scopes, number of kinds, the kinds.
-- Answers the number of the write, store time, then per lease {lane, fence, deliveries, attempts, {id, entry, ...}}.
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
local names, heads, raws = {}, {}, {}
for number = 1, math.min(#found, lanes) do names[number] = found[number][1] end
preload(names)
for _, lane in ipairs(names) do
  local state = load(lane)
  if state.m == 0 then heads[#heads + 1] = state.h end
end
for from = 1, #heads, CHUNK do
  local to = math.min(from + CHUNK - 1, #heads)
  local read = redis.call('HMGET', ENTRIES, unpack(heads, from, to))
  for at = from, to do raws[heads[at]] = read[at - from + 1] end
end
for _, lane in ipairs(names) do
  local state = load(lane)
  local handed, ids, scopes = {}, {}, {}
  for _, id in ipairs(first_ids(lane, state, entries)) do
    local raw = raws[id] or redis.call('HGET', ENTRIES, id)
    local _, nb, _, group = fields(raw)
    if tonumber(nb) > now or not wants(group) then break end
    handed[#handed + 1] = id
    handed[#handed + 1] = raw
    ids[#ids + 1] = id
    scopes[#scopes + 1] = scope_of(group)
  end
  if #ids > 0 then
    fence = fence + 1
    state.f, state.u, state.i, state.c, state.d = fence, expires, ids, scopes, state.d + 1
    place(lane, state, ids[1])
    answer[#answer + 1] = {lane, num(fence), state.d, state.a, handed}
  else
    -- The server's clock was set back since the head came due.
    place(lane, state)
  end
end
if #answer > 2 then
  redis.call('HSET', meta, 'fence', num(fence))
  answer[1] = num(written())
else
  answer[1] = num(last)
end
flush()
return answer
