-- Sends whole requests in turn and ends with one line of JSON for wrk.py to read.
-- wrk -s wrk.lua URL -- FILE, which holds "SIZE\n" and so many bytes, again and again.
-- All is read before the first request, so that sending costs wrk no more than picking the next string.

local requests = {}
local turn = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for size in function() return file:read("*n") end do
    file:read(1)
    requests[#requests + 1] = file:read(size)
  end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p95_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,' ..
    '"not_200":%d,"broken":%d,"timed_out":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
