-- POSTs the lines of a file in turn, each a body, and ends with one line of JSON for wrk.py to read.
-- wrk -s post.lua URL -- bodies.jsonl

local requests = {}
local turn = 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    -- Formatted once, so that sending costs wrk no more than picking the next string.
    requests[#requests + 1] = wrk.format("POST", nil, headers, line)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"not_200":%d,"broken":%d,"late":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
