-- POSTs files in turn, each a whole multipart form, and ends with one line of JSON for shooting.py to read.
-- wrk -s upload.lua URL -- BOUNDARY form-1 form-2 …

local requests = {}
local turn = 0

function init(args)
  local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. args[1] }
  for place = 2, #args do
    local file = assert(io.open(args[place], "rb"))
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p95_ms":%.3f,"p99_ms":%.3f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
