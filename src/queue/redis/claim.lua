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
for _, lane in ipairs(redis.call('ZRANGEBYSCORE', P .. 'later', '-inf', num(now), 'LIMIT', 0, 5000)) do
  place(lane, load(lane))
end
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
for number = 1, math.min(#found, lanes) do
  local lane = found[number][1]
  local state = load(lane)
  local handed, ids, scopes = {}, {}, {}
  local first, first_nb, first_rank, first_group
  for _, id in ipairs(redis.call('ZRANGE', P .. 'lane:' .. lane, 0, entries - 1)) do
    local raw = redis.call('HGET', P .. 'entries', id)
    local _, nb, rank, group = fields(raw)
    if tonumber(nb) > now or not wants(group) then break end
    if not first then first, first_nb, first_rank, first_group = id, nb, rank, group end
    handed[#handed + 1] = id
    handed[#handed + 1] = raw
    ids[#ids + 1] = id
    scopes[#scopes + 1] = scope_of(group)
  end
  if #ids > 0 then
    fence = fence + 1
    state.f, state.u, state.i, state.c, state.d = fence, expires, ids, scopes, state.d + 1
    place(lane, state, first, first_nb, first_rank, first_group)
    redis.call('ZADD', P .. 'leases', num(expires), lane)
    answer[#answer + 1] = {lane, num(fence), state.d, state.a, handed}
  end
end
if #answer > 2 then
  redis.call('HSET', meta, 'fence', num(fence))
  answer[1] = num(written())
else
  answer[1] = num(last)
end
return answer
