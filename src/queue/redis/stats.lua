-- Answers {store time, entries, lanes, leased, frozen, parked, then per scope: name, entries, when the oldest was enqueued}.
local bare = 0
local frozen = redis.call('SMEMBERS', P .. 'frozen')
for _, lane in ipairs(frozen) do
  local state = load(lane)
  if state and not head_of(lane, state) then bare = bare + 1 end
end
local answer = {
  num(now), redis.call('HLEN', P .. 'entries'), redis.call('HLEN', P .. 'lanes') - bare,
  redis.call('ZCOUNT', P .. 'leases', '(' .. num(now), '+inf'), #frozen, redis.call('HLEN', P .. 'parked'),
}
for _, scope in ipairs(redis.call('SMEMBERS', P .. 'scopes')) do
  local oldest = redis.call('ZRANGE', P .. 'scope:' .. scope, 0, 0)[1]
  if oldest then
    answer[#answer + 1] = scope
    answer[#answer + 1] = redis.call('ZCARD', P .. 'scope:' .. scope)
    answer[#answer + 1] = (fields(redis.call('HGET', P .. 'entries', oldest)))
  else
    redis.call('SREM', P .. 'scopes', scope)
  end
end
return answer
