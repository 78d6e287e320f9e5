-- What all scripts of the queue begin with.
-- KEYS: meta. ARGV: generation, number of the newest write the caller knows, then the script's own.
--
-- Lanes are packed lists in one hash: fence, end of the lease, deliveries, attempts, time of the last wait, parked entries that
-- freeze it, where it stands ('' nowhere, 'l' later, 'e' leased, 'r' and the group), its oldest entry, whether there may be
-- more, leased ids, their scopes. A lane of one entry is only that; 'lane:NAME' holds the ids of all entries once there were
-- two. The two states that most lanes only ever have are short: R, the group, the entry (ready since it was made), and E,
-- fence, end of the lease, entry, scope (leased for the first time). An entry is enqueued\nnot before\nrank\ngroup\njoining key\nop\nmapping\npayload; a group is scope/kind. All names are
-- escaped, so that they hold no line ends and no slashes.
-- What is written is gathered and written by flush(), hundreds of members in a command.
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

local CHUNK = 3000
local LANES, ENTRIES = P .. 'lanes', P .. 'entries'
local zsets, hashes, states, dirty = {}, {}, {}, {}

-- Sets the score of a member, or removes it with false.
local function zset(key, member, score)
  local set = zsets[key]
  if not set then set = {}; zsets[key] = set end
  set[member] = score
end

local function hset(key, field, value)
  local hash = hashes[key]
  if not hash then hash = {}; hashes[key] = hash end
  hash[field] = value
end

local function send(command, key, list)
  for from = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
  end
end

local function flush()
  for lane in pairs(dirty) do
    local s = states[lane]
    hset(LANES, lane, s and cmsgpack.pack({s.f, s.u, s.d, s.a, s.w, s.z, s.p, s.h, s.m, s.i, s.c}))
  end
  dirty = {}
  for key, set in pairs(zsets) do
    local add, remove = {}, {}
    for member, score in pairs(set) do
      if score then
        add[#add + 1] = score
        add[#add + 1] = member
      else
        remove[#remove + 1] = member
      end
    end
    send('ZREM', key, remove)
    send('ZADD', key, add)
    local group = string.match(key, '^ready:(.*)$', #P + 1)
    if group then
      redis.call(redis.call('EXISTS', key) == 1 and 'SADD' or 'SREM', P .. 'groups', group)
    end
  end
  for key, hash in pairs(hashes) do
    local set, remove = {}, {}
    for field, value in pairs(hash) do
      if value then
        set[#set + 1] = field
        set[#set + 1] = value
      else
        remove[#remove + 1] = field
      end
    end
    send('HDEL', key, remove)
    send('HSET', key, set)
  end
  zsets, hashes = {}, {}
end

-- The state that is written as `raw`.
local function expand(raw)
  local form = string.byte(raw)
  if form == 82 then
    local group, head = string.match(raw, '^R([^\n]*)\n(%d+)$')
    return {f = 0, u = 0, d = 0, a = 0, w = 0, z = 0, p = 'r' .. group, h = head, m = 0, i = {}, c = {}}
  elseif form == 69 then
    local f, u, head, scope = string.match(raw, '^E(%d+)\n(%d+)\n(%d+)\n(.*)$')
    return {f = tonumber(f), u = tonumber(u), d = 1, a = 0, w = 0, z = 0, p = 'e', h = head, m = 0, i = {head}, c = {scope}}
  end
  local s = cmsgpack.unpack(raw)
  return {f = s[1], u = s[2], d = s[3], a = s[4], w = s[5], z = s[6], p = s[7], h = s[8], m = s[9], i = s[10], c = s[11]}
end

-- Remembers what was read of a lane, unless it is known already.
local function know(lane, raw)
  if states[lane] == nil then states[lane] = raw and expand(raw) or false end
end

-- Asks one command of hundreds of members at a time; the answers in their order.
local function fetch(command, key, members)
  if #members <= CHUNK then
    return #members > 0 and redis.call(command, key, unpack(members)) or {}
  end
  local all = {}
  for from = 1, #members, CHUNK do
    for place_, answer in ipairs(redis.call(command, key, unpack(members, from, math.min(from + CHUNK - 1, #members)))) do
      all[from + place_ - 1] = answer
    end
  end
  return all
end

-- Reads the states of lanes that are not known yet.
local function preload(lanes)
  local unknown = {}
  for _, lane in ipairs(lanes) do
    if states[lane] == nil then unknown[#unknown + 1] = lane end
  end
  for at, raw in ipairs(fetch('HMGET', LANES, unknown)) do know(unknown[at], raw) end
end

local function load(lane)
  if states[lane] == nil then preload({lane}) end
  return states[lane] or nil
end

local function fresh()
  return {f = 0, u = 0, d = 0, a = 0, w = 0, z = 0, p = '', h = '', m = 0, i = {}, c = {}}
end

-- An entry, also one that is not written yet.
local function entry_of(id)
  local pending = hashes[ENTRIES] and hashes[ENTRIES][id]
  if pending ~= nil then return pending end
  return redis.call('HGET', ENTRIES, id)
end

local function first_ids(lane, state, count)
  if state.m == 1 then return redis.call('ZRANGE', P .. 'lane:' .. lane, 0, count - 1) end
  return state.h ~= '' and {state.h} or {}
end

local function head_of(lane, state)
  return first_ids(lane, state, 1)[1]
end

local function tail_of(lane, state)
  if state.m == 1 then return redis.call('ZREVRANGE', P .. 'lane:' .. lane, 0, 0)[1] end
  return state.h ~= '' and state.h or nil
end

local function add_id(lane, state, id)
  if state.m == 1 then
    redis.call('ZADD', P .. 'lane:' .. lane, id, id)
  elseif state.h == '' then
    state.h = id
  else
    redis.call('ZADD', P .. 'lane:' .. lane, state.h, state.h, id, id)
    state.h, state.m = '', 1
  end
end

local function drop_id(lane, state, id)
  if state.m == 1 then
    redis.call('ZREM', P .. 'lane:' .. lane, id)
    if redis.call('EXISTS', P .. 'lane:' .. lane) == 0 then state.m = 0 end
  elseif state.h == id then
    state.h = ''
  end
end

-- enqueued, not before, rank, group, joining key
local function fields(raw)
  return string.match(raw, '^(%-?%d+)\n(%-?%d+)\n(%d)\n([^\n]*)\n([^\n]*)\n')
end

local function scope_of(group)
  return string.match(group, '^[^/]*')
end

local function key_of(place)
  if place == 'l' then return P .. 'later' end
  if place == 'e' then return P .. 'leases' end
  return P .. 'ready:' .. string.sub(place, 2)
end

local function unplace(lane, state)
  if state.p ~= '' then zset(key_of(state.p), lane, false) end
  state.p = ''
end

-- Puts a lane where it belongs and keeps its state, or drops it if nothing is left of it. What is known of the head may be
-- given.
local function place(lane, state, head, nb, rank, group)
  head = head or head_of(lane, state)
  local wanted, score = '', 0
  if head and state.z == 0 then
    if state.u > now then
      wanted, score = 'e', state.u
    else
      if not nb then
        local _
        _, nb, rank, group = fields(entry_of(head))
      end
      local free = math.max(tonumber(nb), state.w)
      if free > now then
        wanted, score = 'l', free
      else
        wanted, score = 'r' .. group, rank * RANK + head
      end
    end
  end
  if state.p ~= wanted then unplace(lane, state) end
  if wanted ~= '' then zset(key_of(wanted), lane, score) end
  state.p = wanted
  states[lane] = (head or state.z > 0) and state
  dirty[lane] = true
end
