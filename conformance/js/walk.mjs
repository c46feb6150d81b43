// The conformance script with the AWS SDK for JavaScript v3.
//
// The endpoint comes from AWS_ENDPOINT_URL_LAMBDA, region and credentials from their usual variables:
// nothing here knows that the server is not AWS. CONFORMANCE_PACKAGE names the function's zip,
// CONFORMANCE_RUNTIME its runtime, CONFORMANCE_FAULTS the errors to meet, separated by commas.

import { readFileSync } from "node:fs";
import * as sdk from "@aws-sdk/client-lambda";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const NAME = "conformance";
const ARN = `arn:aws:lambda:us-east-1:000000000000:function:${NAME}`;
const LARGEST_EVENT_BYTES = 6291456;
const TRACE_ROOT = "1-5759e988-bd862e3fe1be46a994272793";

const client = new sdk.LambdaClient({});
const once = new sdk.LambdaClient({ maxAttempts: 1 });
const twice = new sdk.LambdaClient({ maxAttempts: 2 });
const impatient = new sdk.LambdaClient({
  maxAttempts: 1,
  requestHandler: new NodeHttpHandler({ requestTimeout: 1000, throwOnRequestTimeout: true }),
});

const invoke = (request, caller = client) =>
  caller.send(new sdk.InvokeCommand({ FunctionName: NAME, ...request }));
const json = (payload) => JSON.parse(payload.transformToString());

// ------------------------------------------------------------ a function

const functionSteps = {
  async create() {
    const { State } = await client.send(
      new sdk.CreateFunctionCommand({
        FunctionName: NAME,
        Runtime: process.env.CONFORMANCE_RUNTIME,
        Handler: "index.handler",
        Role: "arn:aws:iam::000000000000:role/conformance",
        Timeout: 30,
        Code: { ZipFile: readFileSync(process.env.CONFORMANCE_PACKAGE) },
      }),
    );
    return State;
  },
  async active() {
    await untilActive({});
    const { State } = await client.send(new sdk.GetFunctionConfigurationCommand({ FunctionName: NAME }));
    return State;
  },
  async publish() {
    const { Version } = await client.send(new sdk.PublishVersionCommand({ FunctionName: NAME }));
    await untilActive({ Qualifier: Version });
    return Version;
  },
  async alias() {
    const alias = await client.send(
      new sdk.CreateAliasCommand({ FunctionName: NAME, Name: "live", FunctionVersion: "1" }),
    );
    expect(alias.AliasArn === `${ARN}:live`, alias.AliasArn);
    return `${alias.Name} ${alias.FunctionVersion}`;
  },
};

function untilActive(target) {
  return sdk.waitUntilFunctionActiveV2(
    { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 },
    { FunctionName: NAME, ...target },
  );
}

// ------------------------------------------------------------ answers

async function invoked(request, event) {
  const answer = await invoke(request);
  const told = json(answer.Payload);
  expect(JSON.stringify(told.event) === event && answer.FunctionError === undefined, told);
  return `${answer.StatusCode} ${answer.ExecutedVersion}`;
}

async function accepted(InvocationType) {
  const answer = await invoke({ InvocationType, Payload: "{}" });
  expect(!answer.Payload?.length, answer.Payload);
  return `${answer.StatusCode}`;
}

async function versionOf(target) {
  const answer = await invoke(target);
  const { version } = json(answer.Payload);
  expect(version === answer.ExecutedVersion, answer.ExecutedVersion);
  return `${answer.StatusCode} ${version}`;
}

const largeEvent = (size) => `{"echo":"${"x".repeat(size - '{"echo":""}'.length)}"}`;

const answerSteps = {
  invoke: () => invoked({ Payload: '{"a":1}' }, '{"a":1}'),
  empty: () => invoked({}, "{}"),
  event: () => accepted("Event"),
  "dry-run": () => accepted("DryRun"),
  async "log-tail"() {
    const answer = await invoke({ LogType: "Tail" });
    const text = Buffer.from(answer.LogResult, "base64").toString();
    expect(text.includes("conformance was here") && text.includes("REPORT RequestId"), text);
    return `${answer.StatusCode}`;
  },
  async "client-context"() {
    const context = Buffer.from(JSON.stringify({ custom: { who: "js" } })).toString("base64");
    const answer = await invoke({ ClientContext: context });
    expect(json(answer.Payload).custom.who === "js", answer.Payload);
    return `${answer.StatusCode}`;
  },
  version: () => versionOf({ Qualifier: "1" }),
  "alias-qualifier": () => versionOf({ Qualifier: "live" }),
  "alias-in-name": () => versionOf({ FunctionName: `${NAME}:live` }),
  "full-arn": () => versionOf({ FunctionName: `${ARN}:live` }),
  "partial-arn": () => versionOf({ FunctionName: `000000000000:function:${NAME}:live` }),
  async "function-error"() {
    const answer = await invoke({ Payload: '{"fail":"boom"}' });
    const error = json(answer.Payload);
    expect(error.errorMessage === "boom", error);
    return `${answer.StatusCode} ${answer.FunctionError} ${error.errorType}`;
  },
  async "request-id"() {
    const answer = await invoke({});
    expect(json(answer.Payload).request_id === answer.$metadata.requestId, answer.$metadata);
    return `${answer.StatusCode}`;
  },
  // A middleware of a client sees each request before it is signed and sent.
  async hook() {
    const hooked = new sdk.LambdaClient({});
    hooked.middlewareStack.add(
      (next) => (call) => {
        call.request.headers["X-Amzn-Trace-Id"] = `Root=${TRACE_ROOT};Parent=53995c3f42cd8ad8;Sampled=1`;
        return next(call);
      },
      { step: "build", name: "addTrace" },
    );
    const answer = await invoke({}, hooked);
    expect(json(answer.Payload).trace.includes(TRACE_ROOT), answer.Payload);
    return `${answer.StatusCode}`;
  },
  async large() {
    const event = largeEvent(LARGEST_EVENT_BYTES);
    const answer = await invoke({ Payload: event });
    expect(json(answer.Payload) === JSON.parse(event).echo, answer.Payload.length);
    return `${answer.StatusCode} ${event.length}`;
  },
};

// ------------------------------------------------------------ refusals

const told = (error) => `${error.name} ${error.$metadata.httpStatusCode}`;

// Tells code and status of the error that a call ends with; it must be of the SDK's own class.
async function refused(type, request, caller = client) {
  const error = await failure(invoke(request, caller));
  expect(error instanceof type && error.message.length > 0, error);
  return told(error);
}

async function failure(call) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("not refused");
}

async function throttled(FunctionName, caller) {
  const error = await failure(invoke({ FunctionName }, caller));
  expect(error instanceof sdk.TooManyRequestsException, error);
  expect(error.Reason === sdk.ThrottleReason.ReservedFunctionConcurrentInvocationLimitExceeded, error.Reason);
  return told(error);
}

async function timedOut(request) {
  const error = await failure(invoke(request, impatient));
  expect(error.name === "TimeoutError", error);
  return "timeout";
}

const refusalSteps = {
  "not-found": () => refused(sdk.ResourceNotFoundException, { FunctionName: "nobody" }),
  "bad-parameter": () =>
    refused(sdk.InvalidParameterValueException, { FunctionName: `${NAME}:live`, Qualifier: "$LATEST" }),
  "bad-content": () => refused(sdk.InvalidRequestContentException, { Payload: "{" }),
  conflict: () => refused(sdk.ResourceConflictException, { FunctionName: "broken" }),
  // AWS's error for this is in no model: only the base class of all of them fits.
  "too-large": () => refused(sdk.LambdaServiceException, { Payload: largeEvent(LARGEST_EVENT_BYTES + 1) }),
  throttled: () => throttled("throttled", client),
  retries: () => throttled("throttled-twice", twice),
  timeout: () => timedOut({ Payload: '{"sleep":3}' }),
  // The SDK has no switch for it: a signer that does nothing stands in.
  async unsigned() {
    const anonymous = new sdk.LambdaClient({ signer: { sign: async (request) => request } });
    try {
      return `${(await invoke({}, anonymous)).StatusCode}`;
    } catch (error) {
      expect(error instanceof sdk.LambdaServiceException, error);
      return told(error);
    }
  },
};

async function faultMet(fault) {
  const target = { FunctionName: `fault-${fault.replaceAll(".", "-")}` };
  if (fault === "connection.stalled") return timedOut(target);
  if (fault === "connection.cut") {
    const error = await failure(invoke(target, once));
    expect(error.code === "ECONNRESET" || error.message.includes("socket hang up"), error);
    return "connection";
  }
  if (sdk[fault] === undefined) return `untyped ${await refused(sdk.LambdaServiceException, target, once)}`;
  return refused(sdk[fault], target, once);
}

// ------------------------------------------------------------ streams

async function streamed(Payload) {
  const answer = await client.send(new sdk.InvokeWithResponseStreamCommand({ FunctionName: NAME, Payload }));
  const chunks = [];
  let end;
  for await (const event of answer.EventStream) {
    if (event.PayloadChunk) chunks.push(event.PayloadChunk.Payload);
    if (event.InvokeComplete) end = event.InvokeComplete;
  }
  expect(end !== undefined, "no end");
  return { status: answer.StatusCode, text: Buffer.concat(chunks).toString(), end };
}

const streamSteps = {
  async stream() {
    const { status, text, end } = await streamed('{"a":1}');
    expect(JSON.parse(text).event.a === 1 && end.ErrorCode === undefined, end);
    return `${status} InvokeComplete`;
  },
  async "stream-error"() {
    const { status, end } = await streamed('{"fail":"boom"}');
    expect(end.ErrorDetails?.length > 0, end);
    return `${status} ${end.ErrorCode}`;
  },
};

// ------------------------------------------------------------ the report

function expect(condition, seen) {
  if (!condition) throw seen instanceof Error ? seen : new Error(`unexpected: ${JSON.stringify(seen)}`);
}

async function walk(step, check) {
  let ok = true;
  let detail;
  try {
    detail = await check();
  } catch (error) {
    ok = false;
    detail = `${error.name}: ${error.message}`;
  }
  console.log(JSON.stringify({ client: "js", step, ok, detail }));
}

const steps = { ...functionSteps, ...answerSteps, ...refusalSteps, ...streamSteps };
for (const [step, check] of Object.entries(steps)) await walk(step, check);
for (const fault of (process.env.CONFORMANCE_FAULTS ?? "").split(",").filter(Boolean)) {
  await walk(`fault:${fault}`, () => faultMet(fault));
}
await walk("delete", async () => {
  const answer = await client.send(new sdk.DeleteFunctionCommand({ FunctionName: NAME }));
  return `${answer.$metadata.httpStatusCode}`;
});
