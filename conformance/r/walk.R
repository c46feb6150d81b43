# The conformance script with paws: Rscript walk.R
#
# The endpoint comes from AWS_ENDPOINT_URL_LAMBDA, region and credentials from their usual variables: nothing
# here knows that the server is not AWS. CONFORMANCE_PACKAGE names the function's zip, CONFORMANCE_RUNTIME its
# runtime, CONFORMANCE_FAULTS the errors to meet, separated by commas.
#
# Packages: install.packages(c("paws.compute", "jsonlite", "base64enc"))

name <- "conformance"
arn <- paste0("arn:aws:lambda:us-east-1:000000000000:function:", name)
largest_event_bytes <- 6291456L

svc <- paws.compute::lambda()

# ------------------------------------------------------------ a function

create <- function() {
  path <- Sys.getenv("CONFORMANCE_PACKAGE")
  made <- svc$create_function(
    FunctionName = name,
    Runtime = Sys.getenv("CONFORMANCE_RUNTIME"),
    Handler = "index.handler",
    Role = "arn:aws:iam::000000000000:role/conformance",
    Timeout = 30L,
    Code = list(ZipFile = readBin(path, "raw", file.size(path)))
  )
  made$State
}

# paws has no waiters: the state is asked for until it is not Pending any more.
active <- function(...) {
  for (attempt in 1:600) {
    state <- svc$get_function_configuration(FunctionName = name, ...)$State
    if (state != "Pending") return(state)
    Sys.sleep(0.1)
  }
  stop("still Pending")
}

publish <- function() {
  version <- svc$publish_version(FunctionName = name)$Version
  expect(active(Qualifier = version) == "Active", version)
  version
}

make_alias <- function() {
  alias <- svc$create_alias(FunctionName = name, Name = "live", FunctionVersion = "1")
  expect(alias$AliasArn == paste0(arn, ":live"), alias$AliasArn)
  paste(alias$Name, alias$FunctionVersion)
}

# The answer has no status: that the call returns is all.
delete <- function() {
  svc$delete_function(FunctionName = name)
  "204"
}

# ------------------------------------------------------------ answers

text_of <- function(answer) rawToChar(answer$Payload)
told <- function(answer) jsonlite::fromJSON(text_of(answer), simplifyVector = FALSE)

# An error of the function is an answer too. What is absent has no length; it is not NULL.
invoked <- function(event, ...) {
  answer <- svc$invoke(FunctionName = name, ...)
  expect(length(answer$FunctionError) == 0, answer$FunctionError)
  expect(grepl(paste0("\"event\": ", event), text_of(answer), fixed = TRUE), text_of(answer))
  paste(answer$StatusCode, answer$ExecutedVersion)
}

accepted <- function(type) {
  answer <- svc$invoke(FunctionName = name, InvocationType = type, Payload = "{}")
  expect(length(answer$Payload) == 0, answer$Payload)
  as.character(answer$StatusCode)
}

log_tail <- function() {
  answer <- svc$invoke(FunctionName = name, LogType = "Tail")
  tail <- rawToChar(base64enc::base64decode(answer$LogResult))
  expect(grepl("conformance was here", tail, fixed = TRUE) && grepl("REPORT RequestId", tail, fixed = TRUE), tail)
  as.character(answer$StatusCode)
}

client_context <- function() {
  context <- base64enc::base64encode(charToRaw("{\"custom\":{\"who\":\"paws\"}}"))
  answer <- svc$invoke(FunctionName = name, ClientContext = context)
  expect(identical(told(answer)$custom$who, "paws"), text_of(answer))
  as.character(answer$StatusCode)
}

version_of <- function(...) {
  answer <- svc$invoke(...)
  expect(identical(told(answer)$version, answer$ExecutedVersion), text_of(answer))
  paste(answer$StatusCode, answer$ExecutedVersion)
}

function_error <- function() {
  answer <- svc$invoke(FunctionName = name, Payload = "{\"fail\":\"boom\"}")
  error <- told(answer)
  expect(identical(error$errorMessage, "boom"), text_of(answer))
  paste(answer$StatusCode, answer$FunctionError, error$errorType)
}

large_event <- function(size) paste0("{\"echo\":\"", strrep("x", size - 11L), "\"}")

large <- function() {
  event <- large_event(largest_event_bytes)
  answer <- svc$invoke(FunctionName = name, Payload = event)
  expect(identical(text_of(answer), substr(event, 9, nchar(event) - 1)), length(answer$Payload))
  paste(answer$StatusCode, nchar(event))
}

# ------------------------------------------------------------ refusals

# Tells code and status of the error that a call ends with. Its classes are paws_error and http_404 and the like;
# the code begins its message: "ResourceNotFoundException (HTTP 404). Function not found: ...".
refused <- function(...) {
  tryCatch(
    {
      svc$invoke(...)
      stop("not refused")
    },
    paws_error = function(error) {
      code <- sub(" .*", "", conditionMessage(error))
      expect(inherits(error, paste0("http_", error$status_code)), class(error))
      paste(code, error$status_code)
    }
  )
}

# Whether a call ends with an error that is no answer of the server: answers have a class of their status.
is_cut_off <- function(...) {
  tryCatch(
    {
      svc$invoke(...)
      FALSE
    },
    error = function(error) !any(startsWith(class(error), "http_"))
  )
}

# paws limits the connecting alone, so it is R that limits the call; curl tells that in words of its own.
timed_out <- function(...) {
  begin <- Sys.time()
  setTimeLimit(elapsed = 1, transient = TRUE)
  on.exit(setTimeLimit())
  expect(is_cut_off(...), "answered")
  expect(difftime(Sys.time(), begin, units = "secs") < 2.5, Sys.time() - begin)
  "timeout"
}

unsigned <- function() {
  anonymous <- paws.compute::lambda(config = list(credentials = list(anonymous = TRUE)))
  tryCatch(
    as.character(anonymous$invoke(FunctionName = name)$StatusCode),
    paws_error = function(error) paste(sub(" .*", "", conditionMessage(error)), error$status_code)
  )
}

fault_met <- function(fault) {
  target <- paste0("fault-", gsub(".", "-", fault, fixed = TRUE))
  if (fault == "connection.stalled") return(timed_out(FunctionName = target))
  if (fault != "connection.cut") return(refused(FunctionName = target))
  expect(is_cut_off(FunctionName = target), "answered")
  "connection"
}

# ------------------------------------------------------------ the report

expect <- function(condition, seen) {
  if (!isTRUE(condition)) stop(paste("unexpected:", paste(format(seen), collapse = " ")))
}

walk <- function(step, check) {
  line <- tryCatch(
    list(client = "paws", step = step, ok = TRUE, detail = check()),
    error = function(error) list(client = "paws", step = step, ok = FALSE, detail = conditionMessage(error))
  )
  cat(jsonlite::toJSON(line, auto_unbox = TRUE), "\n", sep = "")
}

walk("create", create)
walk("active", active)
walk("publish", publish)
walk("alias", make_alias)
walk("invoke", function() invoked("{\"a\": 1}", Payload = "{\"a\":1}"))
walk("empty", function() invoked("{}"))
walk("event", function() accepted("Event"))
walk("dry-run", function() accepted("DryRun"))
walk("log-tail", log_tail)
walk("client-context", client_context)
walk("version", function() version_of(FunctionName = name, Qualifier = "1"))
walk("alias-qualifier", function() version_of(FunctionName = name, Qualifier = "live"))
walk("alias-in-name", function() version_of(FunctionName = paste0(name, ":live")))
walk("full-arn", function() version_of(FunctionName = paste0(arn, ":live")))
walk("partial-arn", function() version_of(FunctionName = paste0("000000000000:function:", name, ":live")))
walk("function-error", function_error)
walk("large", large)
walk("not-found", function() refused(FunctionName = "nobody"))
walk("bad-parameter", function() refused(FunctionName = paste0(name, ":live"), Qualifier = "$LATEST"))
walk("bad-content", function() refused(FunctionName = name, Payload = "{"))
walk("conflict", function() refused(FunctionName = "broken"))
walk("too-large", function() refused(FunctionName = name, Payload = large_event(largest_event_bytes + 1L)))
walk("throttled", function() refused(FunctionName = "throttled"))
walk("timeout", function() timed_out(FunctionName = name, Payload = "{\"sleep\":3}"))
walk("unsigned", unsigned)
for (fault in Filter(nzchar, strsplit(Sys.getenv("CONFORMANCE_FAULTS"), ",")[[1]])) {
  walk(paste0("fault:", fault), function() fault_met(fault))
}
walk("delete", delete)
