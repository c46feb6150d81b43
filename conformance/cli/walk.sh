#!/usr/bin/env bash
# The conformance script with the AWS CLI, version 1 or 2: walk.sh CLIENT PROGRAM
#
# The endpoint comes from AWS_ENDPOINT_URL_LAMBDA (before 1.29.33 and 2.13.12: --endpoint-url), region and
# credentials from their usual variables. CONFORMANCE_PACKAGE names the function's zip, CONFORMANCE_RUNTIME its
# runtime, CONFORMANCE_FAULTS the errors to meet, separated by commas.
#
# Payloads are files (fileb://): inline ones are text in version 1 and base64 in version 2.

client=$1
program=$2
name=conformance
arn=arn:aws:lambda:us-east-1:000000000000:function:$name
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export AWS_PAGER=

lambda() { "$program" --endpoint-url "$AWS_ENDPOINT_URL_LAMBDA" --output text lambda "$@"; }

# Calls the function; the payload of the answer is in $folder/out, its other members on standard output.
invoke() { lambda invoke --function-name "$@" "$folder/out"; }

event() { printf '%s' "$1" >"$folder/event" && echo "fileb://$folder/event"; }

# ------------------------------------------------------------ a function

create() {
  lambda create-function --function-name $name --runtime "$CONFORMANCE_RUNTIME" --handler index.handler \
    --role arn:aws:iam::000000000000:role/conformance --timeout 30 \
    --zip-file "fileb://$CONFORMANCE_PACKAGE" --query State
}

active() {
  lambda wait function-active-v2 --function-name $name &&
    lambda get-function-configuration --function-name $name --query State
}

publish() {
  local version
  version=$(lambda publish-version --function-name $name --query Version) &&
    lambda wait function-active-v2 --function-name $name --qualifier "$version" && echo "$version"
}

make_alias() {
  lambda create-alias --function-name $name --name live --function-version 1 \
    --query "join(' ', [Name, FunctionVersion])"
}

# The status is not told: that the command succeeds is all.
delete() { lambda delete-function --function-name $name >"$folder/deleted" && echo 204; }

# ------------------------------------------------------------ answers

status="to_string(StatusCode)"

invoked() {
  local expected=$1
  shift
  invoke $name "$@" --query "join(' ', [$status, ExecutedVersion])" && grep -qF "\"event\": $expected," "$folder/out"
}

accepted() {
  invoke $name --invocation-type "$1" --payload "$(event '{}')" --query "$status" && test ! -s "$folder/out"
}

log_tail() {
  local tail
  tail=$(invoke $name --log-type Tail --query LogResult | base64 --decode) &&
    grep -q "conformance was here" <<<"$tail" && grep -q "REPORT RequestId" <<<"$tail" && echo 200
}

client_context() {
  invoke $name --client-context "$(printf '{"custom":{"who":"cli"}}' | base64)" --query "$status" &&
    grep -qF '"custom": {"who": "cli"}' "$folder/out"
}

version_of() {
  local told
  told=$(invoke "$@" --query "join(' ', [$status, ExecutedVersion])") && echo "$told" &&
    grep -qF "\"version\": \"${told#* }\"" "$folder/out"
}

function_error() {
  local told
  told=$(invoke $name --payload "$(event '{"fail":"boom"}')" --query "join(' ', [$status, FunctionError])") &&
    grep -qF '"errorMessage": "boom"' "$folder/out" &&
    echo "$told $(sed -E 's/.*"errorType": "([^"]*)".*/\1/' "$folder/out")"
}

# The id is in what --debug tells alone.
request_id() {
  local id
  invoke $name --query "$status" --debug 2>"$folder/debug" &&
    id=$(grep -oiE "x-amzn-requestid': '[^']+" "$folder/debug" | tail -n 1) &&
    grep -qF "\"request_id\": \"${id##*\'}\"" "$folder/out"
}

# A plugin sees each request before it is signed and sent.
hook() {
  local root=1-5759e988-bd862e3fe1be46a994272793
  cat >"$folder/trace_plugin.py" <<END
def awscli_initialize(hooks):
    hooks.register("before-sign.lambda.Invoke", add_trace)


def add_trace(request, **_):
    request.headers["X-Amzn-Trace-Id"] = "Root=$root;Parent=53995c3f42cd8ad8;Sampled=1"
END
  printf '[plugins]\ntrace = trace_plugin\n' >"$folder/config"
  # Version 2 looks in this folder alone; version 1 looks where Python does, and would take this line for a plugin.
  test "$client" = aws-cli-v1 || echo "cli_legacy_plugin_path = $folder" >>"$folder/config"
  PYTHONPATH=$folder AWS_CONFIG_FILE=$folder/config invoke $name --query "$status" && grep -qF "$root" "$folder/out"
}

# Makes an event of $1 bytes.
large_event() {
  { printf '{"echo":"' && head -c $(($1 - 11)) /dev/zero | tr '\0' x && printf '"}'; } >"$folder/event"
}

large() {
  large_event 6291456 && invoke $name --payload "fileb://$folder/event" --query "$status" >"$folder/status" &&
    cmp -s <(head -c -1 "$folder/event" | tail -c +9) "$folder/out" &&
    echo "$(cat "$folder/status") $(stat --format %s "$folder/event")"
}

# ------------------------------------------------------------ refusals

# Tells the code of the error that a call ends with. The exit status is 254 in version 2, 255 in version 1.
refused() {
  local told
  told=$(invoke "$@" 2>&1)
  test $? -ge 254 && sed -nE 's/.*An error occurred \(([^)]*)\) when calling the Invoke operation.*: .+/\1/p' <<<"$told" |
    grep . || { echo "$told" && false; }
}

too_large() { large_event 6291457 && refused $name --payload "fileb://$folder/event"; }

timed_out() {
  local told
  told=$(AWS_MAX_ATTEMPTS=1 invoke "$@" --cli-read-timeout 1 2>&1) && return 1
  grep -q "Read timeout on endpoint URL" <<<"$told" && echo timeout || { echo "$told" && false; }
}

unsigned() {
  invoke $name --no-sign-request --query "$status" 2>"$folder/error" || refused $name --no-sign-request
}

fault_met() {
  local function=fault-${1//./-}
  case $1 in
  connection.stalled) timed_out "$function" ;;
  connection.cut)
    local told
    told=$(AWS_MAX_ATTEMPTS=1 invoke "$function" 2>&1) && return 1
    grep -qE "Connection (was closed|reset|aborted)" <<<"$told" && echo connection || { echo "$told" && false; }
    ;;
  *) AWS_MAX_ATTEMPTS=1 refused "$function" ;;
  esac
}

# ------------------------------------------------------------ the report

walk() {
  local step=$1 ok=true detail
  shift
  detail=$("$@" 2>"$folder/stderr") || ok=false
  test $ok = true || detail="$detail $(cat "$folder/stderr")"
  detail=$(tr -s '\n\t' '  ' <<<"$detail" | sed -E 's/[\\"]/\\&/g; s/^ +| +$//g')
  printf '{"client":"%s","step":"%s","ok":%s,"detail":"%s"}\n' "$client" "$step" $ok "$detail"
}

walk create create
walk active active
walk publish publish
walk alias make_alias
walk invoke invoked '{"a": 1}' --payload "$(event '{"a":1}')"
walk empty invoked '{}'
walk event accepted Event
walk dry-run accepted DryRun
walk log-tail log_tail
walk client-context client_context
walk version version_of $name --qualifier 1
walk alias-qualifier version_of $name --qualifier live
walk alias-in-name version_of $name:live
walk full-arn version_of $arn:live
walk partial-arn version_of 000000000000:function:$name:live
walk function-error function_error
walk request-id request_id
walk hook hook
walk large large
walk not-found refused nobody
walk bad-parameter refused $name:live --qualifier '$LATEST'
walk bad-content refused $name --payload "$(event '{')"
walk conflict refused broken
walk too-large too_large
walk throttled refused throttled
AWS_MAX_ATTEMPTS=2 walk retries refused throttled-twice
walk timeout timed_out $name --payload "$(event '{"sleep":3}')"
walk unsigned unsigned
for fault in ${CONFORMANCE_FAULTS//,/ }; do
  walk "fault:$fault" fault_met "$fault"
done
walk delete delete
