-- What wrk sends: TOKEN for every request, and the file PAYLOAD as a post, if there is one.
function init(arguments)
  wrk.headers["Authorization"] = "Bearer " .. arguments[1]
  if arguments[2] then
    local file = assert(io.open(arguments[2]))
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = file:read("*a")
    file:close()
  end
end
