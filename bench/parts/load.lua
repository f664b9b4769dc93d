-- The load: requests as a common HTTP client library sends them; the figures of the run as one JSON line.
local body = tonumber(os.getenv("LOAD_BODY") or "0")
if body > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", body)
  wrk.headers["Content-Type"] = "application/octet-stream"
end
wrk.headers["User-Agent"] = "python-requests/2.32.5"
wrk.headers["Accept"] = "*/*"
wrk.headers["Accept-Encoding"] = "gzip, deflate"
wrk.headers["Connection"] = os.getenv("LOAD_CONNECTION") or "keep-alive"

if os.getenv("LOAD_VARIED") == "yes" then
  local number = 0
  function request()
    number = number + 1
    wrk.headers["X-Request-Id"] = string.format("5b0c1a54-2c4e-4d7a-8f6b-%012x", number)
    return wrk.format(nil, wrk.path .. "?page=" .. number)
  end
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    'FIGURES {"requests":%d,"microseconds":%d,"octets":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
