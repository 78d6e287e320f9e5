-- ARGV: length of the lease, then pairs of lane and fence. Answers the number of the write, then 1 or 0 per pair.
local expires = now + tonumber(ARGV[3])
local answer = {0}
for at = 4, #ARGV, 2 do
  local lane = ARGV[at]
  local state = load(lane)
  if state and state.f == tonumber(ARGV[at + 1]) and state.u > now then
    state.u = expires
    place(lane, state)
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = 0
  end
end
answer[1] = num(written())
flush()
return answer
