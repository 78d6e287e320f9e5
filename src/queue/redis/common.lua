-- What all scripts of the queue begin with.
-- KEYS: meta. ARGV: generation, number of the newest write the caller knows, then the script's own.
--
-- Lanes are packed in one hash: f fence, u end of the lease, i leased ids, c their scopes, d deliveries, a attempts,
-- w time of the last wait, z parked entries that freeze it, p where it stands ('' nowhere, 'l' later, 'r' and the group).
-- 'lane:NAME' holds the ids of its entries. An entry is enqueued\nnot before\nrank\ngroup\njoining key\nop\nmapping\npayload;
-- a group is scope/kind. All names are escaped, so that they hold no line ends and no slashes.
local meta = KEYS[1]
local P = string.sub(meta, 1, -5)
local generation = redis.call('HGET', meta, 'generation')
if generation ~= ARGV[1] then
  return redis.error_reply('CRMSYNCGONE ' .. (generation and ('generation ' .. generation) or 'none'))
end
local last = tonumber(redis.call('HGET', meta, 'last') or '0')
if last < tonumber(ARGV[2]) then
  return redis.error_reply('CRMSYNCBACK ' .. last)
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local RANK = 2 ^ 50

local function num(number)
  return string.format('%.0f', number)
end

local function written()
  last = last + 1
  redis.call('HSET', meta, 'last', num(last))
  return last
end

local function load(lane)
  local raw = redis.call('HGET', P .. 'lanes', lane)
  return raw and cmsgpack.unpack(raw) or nil
end

local function fresh()
  return {f = 0, u = 0, i = {}, c = {}, d = 0, a = 0, w = 0, z = 0, p = ''}
end

local function head_of(lane)
  return redis.call('ZRANGE', P .. 'lane:' .. lane, 0, 0)[1]
end

-- enqueued, not before, rank, group, joining key
local function fields(raw)
  return string.match(raw, '^(%-?%d+)\n(%-?%d+)\n(%d)\n([^\n]*)\n([^\n]*)\n')
end

local function scope_of(group)
  return string.match(group, '^[^/]*')
end

local function unplace(lane, state)
  if state.p == 'l' then
    redis.call('ZREM', P .. 'later', lane)
  elseif state.p ~= '' then
    local group = string.sub(state.p, 2)
    redis.call('ZREM', P .. 'ready:' .. group, lane)
    if redis.call('EXISTS', P .. 'ready:' .. group) == 0 then redis.call('SREM', P .. 'groups', group) end
  end
  state.p = ''
end

-- Puts a lane where it belongs and keeps its state, or drops it if nothing is left of it. What is known of the head may be
-- given.
local function place(lane, state, head, nb, rank, group)
  head = head or head_of(lane)
  local wanted, score = '', 0
  if head and state.z == 0 then
    if not nb then
      local _
      _, nb, rank, group = fields(redis.call('HGET', P .. 'entries', head))
    end
    local free = math.max(tonumber(nb), state.w, state.u)
    if free > now then
      wanted, score = 'l', free
    else
      wanted, score = 'r' .. group, rank * RANK + head
    end
  end
  if state.p ~= wanted then unplace(lane, state) end
  if wanted == 'l' then
    redis.call('ZADD', P .. 'later', num(score), lane)
  elseif wanted ~= '' then
    redis.call('ZADD', P .. 'ready:' .. group, num(score), lane)
    if state.p ~= wanted then redis.call('SADD', P .. 'groups', group) end
  end
  state.p = wanted
  if not head and state.z == 0 then
    redis.call('HDEL', P .. 'lanes', lane)
  else
    redis.call('HSET', P .. 'lanes', lane, cmsgpack.pack(state))
  end
end
