//! The conformance script with rusoto_lambda 0.48.
//!
//! rusoto reads no variable for the endpoint: `endpoint()` gives it a region of its own. Credentials come from
//! their usual variables. `CONFORMANCE_PACKAGE` names the function's zip, `CONFORMANCE_RUNTIME` its runtime,
//! `CONFORMANCE_FAULTS` the errors to meet, separated by commas.

mod errors;

use std::env;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::prelude::{Engine, BASE64_STANDARD};
use bytes::Bytes;
use rusoto_core::credential::EnvironmentProvider;
use rusoto_core::request::{BufferedHttpResponse, DispatchSignedRequestFuture};
use rusoto_core::signature::SignedRequest;
use rusoto_core::{Client, DispatchSignedRequest, HttpClient, Region, RusotoError};
use rusoto_lambda::{
    CreateAliasRequest, CreateFunctionRequest, DeleteFunctionRequest, FunctionCode,
    GetFunctionConfigurationRequest, InvocationRequest, InvocationResponse, InvokeError, Lambda,
    LambdaClient, PublishVersionRequest,
};
use serde_json::{json, Value};
use tokio::time::{sleep, timeout};

const NAME: &str = "conformance";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:conformance";
const LARGEST_EVENT_BYTES: usize = 6_291_456;
const TRACE_ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// What a step tells, or what was wrong.
type Told = Result<String, Box<dyn Error>>;
type Invoked = Result<InvocationResponse, RusotoError<InvokeError>>;

/// Returns the region that leads to the server; its name is the one that requests are signed for.
fn endpoint() -> Region {
    Region::Custom {
        name: "us-east-1".to_owned(),
        endpoint: env::var("AWS_ENDPOINT_URL_LAMBDA").expect("AWS_ENDPOINT_URL_LAMBDA is not set"),
    }
}

fn dispatcher() -> HttpClient {
    HttpClient::new().expect("no TLS")
}

#[tokio::main]
async fn main() {
    let client = &LambdaClient::new_with(dispatcher(), EnvironmentProvider::default(), endpoint());

    walk("create", create(client)).await;
    walk("active", active(client, None)).await;
    walk("publish", publish(client)).await;
    walk("alias", make_alias(client)).await;
    walk("invoke", invoked(client, Some(json!({"a": 1})))).await;
    walk("empty", invoked(client, None)).await;
    walk("event", accepted(client, "Event")).await;
    walk("dry-run", accepted(client, "DryRun")).await;
    walk("log-tail", log_tail(client)).await;
    walk("client-context", client_context(client)).await;
    walk("version", version_of(client, NAME, Some("1"))).await;
    walk("alias-qualifier", version_of(client, NAME, Some("live"))).await;
    walk("alias-in-name", version_of(client, "conformance:live", None)).await;
    walk("full-arn", version_of(client, &format!("{ARN}:live"), None)).await;
    walk("partial-arn", version_of(client, "000000000000:function:conformance:live", None)).await;
    walk("function-error", function_error(client)).await;
    walk("request-id", request_id()).await;
    walk("hook", hook()).await;
    walk("large", large(client)).await;
    walk("not-found", refused(client.invoke(named("nobody")), errors::kind("ResourceNotFoundException")))
        .await;
    let twofold = InvocationRequest { qualifier: Some("$LATEST".to_owned()), ..named("conformance:live") };
    walk("bad-parameter", refused(client.invoke(twofold), errors::kind("InvalidParameterValueException")))
        .await;
    let broken_json = InvocationRequest { payload: Some(Bytes::from("{")), ..named(NAME) };
    walk("bad-content", refused(client.invoke(broken_json), errors::kind("InvalidRequestContentException")))
        .await;
    walk("conflict", refused(client.invoke(named("broken")), errors::kind("ResourceConflictException")))
        .await;
    let payload = Some(Bytes::from(large_event(LARGEST_EVENT_BYTES + 1)));
    // AWS's error for this is in no model, so there is only the response as it came.
    walk("too-large", refused(client.invoke(InvocationRequest { payload, ..named(NAME) }), None)).await;
    walk("throttled", refused(client.invoke(named("throttled")), errors::kind("TooManyRequestsException")))
        .await;
    let slow = InvocationRequest { payload: Some(Bytes::from(r#"{"sleep":3}"#)), ..named(NAME) };
    walk("timeout", timed_out(client, slow)).await;
    walk("unsigned", unsigned()).await;
    let faults = env::var("CONFORMANCE_FAULTS").unwrap_or_default();
    for fault in faults.split(',').filter(|name| !name.is_empty()) {
        walk(&format!("fault:{fault}"), fault_met(client, fault)).await;
    }
    walk("delete", delete(client)).await;
}

// ------------------------------------------------------------ a function

async fn create(client: &LambdaClient) -> Told {
    let code = std::fs::read(env::var("CONFORMANCE_PACKAGE")?)?;
    let made = client
        .create_function(CreateFunctionRequest {
            function_name: NAME.to_owned(),
            runtime: Some(env::var("CONFORMANCE_RUNTIME")?),
            handler: Some("index.handler".to_owned()),
            role: "arn:aws:iam::000000000000:role/conformance".to_owned(),
            timeout: Some(30),
            code: FunctionCode { zip_file: Some(Bytes::from(code)), ..Default::default() },
            ..Default::default()
        })
        .await?;
    Ok(made.state.ok_or("no state")?)
}

/// Asks for the state until it is not Pending any more: rusoto has no waiters.
async fn active(client: &LambdaClient, qualifier: Option<String>) -> Told {
    for _ in 0..600 {
        let found = client
            .get_function_configuration(GetFunctionConfigurationRequest {
                function_name: NAME.to_owned(),
                qualifier: qualifier.clone(),
            })
            .await?;
        match found.state.as_deref() {
            Some("Pending") => sleep(Duration::from_millis(100)).await,
            state => return Ok(state.unwrap_or_default().to_owned()),
        }
    }
    Err("still Pending".into())
}

async fn publish(client: &LambdaClient) -> Told {
    let request = PublishVersionRequest { function_name: NAME.to_owned(), ..Default::default() };
    let version = client.publish_version(request).await?.version;
    expect(active(client, version.clone()).await? == "Active", &version)?;
    Ok(version.ok_or("no version")?)
}

async fn make_alias(client: &LambdaClient) -> Told {
    let alias = client
        .create_alias(CreateAliasRequest {
            function_name: NAME.to_owned(),
            name: "live".to_owned(),
            function_version: "1".to_owned(),
            ..Default::default()
        })
        .await?;
    expect(alias.alias_arn.as_deref() == Some(&format!("{ARN}:live")), &alias)?;
    Ok(format!("{} {}", alias.name.unwrap_or_default(), alias.function_version.unwrap_or_default()))
}

/// The answer has no status: that it is one of success is all that rusoto tells.
async fn delete(client: &LambdaClient) -> Told {
    client.delete_function(DeleteFunctionRequest { function_name: NAME.to_owned(), qualifier: None }).await?;
    Ok("204".to_owned())
}

// ------------------------------------------------------------ answers

fn named(function: &str) -> InvocationRequest {
    InvocationRequest { function_name: function.to_owned(), ..Default::default() }
}

/// Returns the payload of an answer. An error of the function is an answer too: see `function_error()`.
fn payload(answer: &InvocationResponse) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(answer.payload.as_deref().ok_or("no payload")?)?)
}

fn status(answer: &InvocationResponse) -> i64 {
    answer.status_code.unwrap_or_default()
}

async fn invoked(client: &LambdaClient, event: Option<Value>) -> Told {
    let payload_sent = event.as_ref().map(|event| Bytes::from(event.to_string()));
    let answer = client.invoke(InvocationRequest { payload: payload_sent, ..named(NAME) }).await?;
    let told = payload(&answer)?;
    expect(told["event"] == event.unwrap_or(json!({})) && answer.function_error.is_none(), &told)?;
    Ok(format!("{} {}", status(&answer), answer.executed_version.unwrap_or_default()))
}

async fn accepted(client: &LambdaClient, kind: &str) -> Told {
    let request = InvocationRequest {
        invocation_type: Some(kind.to_owned()),
        payload: Some(Bytes::from("{}")),
        ..named(NAME)
    };
    let answer = client.invoke(request).await?;
    expect(answer.payload.as_ref().is_none_or(|payload| payload.is_empty()), &answer)?;
    Ok(status(&answer).to_string())
}

async fn log_tail(client: &LambdaClient) -> Told {
    let answer =
        client.invoke(InvocationRequest { log_type: Some("Tail".to_owned()), ..named(NAME) }).await?;
    let tail = BASE64_STANDARD.decode(answer.log_result.as_deref().ok_or("no log")?)?;
    let tail = String::from_utf8(tail)?;
    expect(tail.contains("conformance was here") && tail.contains("REPORT RequestId"), &tail)?;
    Ok(status(&answer).to_string())
}

async fn client_context(client: &LambdaClient) -> Told {
    let context = BASE64_STANDARD.encode(r#"{"custom":{"who":"rusoto"}}"#);
    let answer = client.invoke(InvocationRequest { client_context: Some(context), ..named(NAME) }).await?;
    expect(payload(&answer)?["custom"]["who"] == "rusoto", &answer)?;
    Ok(status(&answer).to_string())
}

async fn version_of(client: &LambdaClient, function: &str, qualifier: Option<&str>) -> Told {
    let request = InvocationRequest { qualifier: qualifier.map(str::to_owned), ..named(function) };
    let answer = client.invoke(request).await?;
    let told = payload(&answer)?;
    expect(told["version"].as_str() == answer.executed_version.as_deref(), &told)?;
    Ok(format!("{} {}", status(&answer), answer.executed_version.unwrap_or_default()))
}

async fn function_error(client: &LambdaClient) -> Told {
    let event = Bytes::from(r#"{"fail":"boom"}"#);
    let answer = client.invoke(InvocationRequest { payload: Some(event), ..named(NAME) }).await?;
    let error = payload(&answer)?;
    expect(error["errorMessage"] == "boom", &error)?;
    let kind = error["errorType"].as_str().unwrap_or_default();
    Ok(format!("{} {} {kind}", status(&answer), answer.function_error.unwrap_or_default()))
}

/// Sees each request after it was signed; a header that is added here is not covered by the signature.
struct Traced(HttpClient);

impl DispatchSignedRequest for Traced {
    fn dispatch(&self, mut request: SignedRequest, limit: Option<Duration>) -> DispatchSignedRequestFuture {
        let trace = format!("Root={TRACE_ROOT};Parent=53995c3f42cd8ad8;Sampled=1");
        request.add_header("x-amzn-trace-id", &trace);
        self.0.dispatch(request, limit)
    }
}

async fn hook() -> Told {
    let client = LambdaClient::new_with(Traced(dispatcher()), EnvironmentProvider::default(), endpoint());
    let answer = client.invoke(named(NAME)).await?;
    let told = payload(&answer)?;
    expect(told["trace"].as_str().is_some_and(|trace| trace.contains(TRACE_ROOT)), &told)?;
    Ok(status(&answer).to_string())
}

/// Sees each response before rusoto reads it: `InvocationResponse` has no request id.
struct Seen(HttpClient, Arc<Mutex<Option<String>>>);

impl DispatchSignedRequest for Seen {
    fn dispatch(&self, request: SignedRequest, limit: Option<Duration>) -> DispatchSignedRequestFuture {
        let (response, seen) = (self.0.dispatch(request, limit), self.1.clone());
        Box::pin(async move {
            let response = response.await?;
            *seen.lock().unwrap() = response.headers.get("x-amzn-requestid").cloned();
            Ok(response)
        })
    }
}

async fn request_id() -> Told {
    let seen = Arc::new(Mutex::new(None));
    let dispatcher = Seen(dispatcher(), seen.clone());
    let client = LambdaClient::new_with(dispatcher, EnvironmentProvider::default(), endpoint());
    let answer = client.invoke(named(NAME)).await?;
    let id = seen.lock().unwrap().clone();
    expect(payload(&answer)?["request_id"].as_str() == id.as_deref(), &id)?;
    Ok(status(&answer).to_string())
}

/// Returns an event of `size` bytes.
fn large_event(size: usize) -> String {
    format!(r#"{{"echo":"{}"}}"#, "x".repeat(size - r#"{"echo":""}"#.len()))
}

async fn large(client: &LambdaClient) -> Told {
    let event = Bytes::from(large_event(LARGEST_EVENT_BYTES));
    let answer = client.invoke(InvocationRequest { payload: Some(event.clone()), ..named(NAME) }).await?;
    let echoed = event.slice(r#"{"echo":"#.len()..event.len() - 1);
    expect(answer.payload.as_ref() == Some(&echoed), &answer.status_code)?;
    Ok(format!("{} {}", status(&answer), event.len()))
}

// ------------------------------------------------------------ refusals

/// Tells the code of the error that a call ends with; it must be of the kind, or without one be unknown to rusoto.
async fn refused(call: impl Future<Output = Invoked>, kind: Option<errors::Kind>) -> Told {
    match (call.await, kind) {
        (Err(RusotoError::Service(error)), Some(kind)) => match (kind.message)(&error) {
            Some(message) if !message.is_empty() => Ok(kind.name.to_owned()),
            _ => Err(format!("{error:?}").into()),
        },
        (Err(RusotoError::Unknown(response)), None) => code(&response),
        (Err(other), _) => Err(format!("{other:?}").into()),
        (Ok(answer), _) => Err(format!("not refused: {answer:?}").into()),
    }
}

/// Reads the code that rusoto drops with an error that it does not know.
fn code(response: &BufferedHttpResponse) -> Told {
    let code = response.headers.get("x-amzn-errortype").ok_or("no code")?;
    Ok(code.clone())
}

/// Gives a call a second: rusoto has no timeouts of its own.
async fn timed_out(client: &LambdaClient, request: InvocationRequest) -> Told {
    match timeout(Duration::from_secs(1), client.invoke(request)).await {
        Err(_) => Ok("timeout".to_owned()),
        Ok(other) => Err(format!("{other:?}").into()),
    }
}

async fn unsigned() -> Told {
    let client = LambdaClient::new_with_client(Client::new_not_signing(dispatcher()), endpoint());
    match client.invoke(named(NAME)).await {
        Ok(answer) => Ok(status(&answer).to_string()),
        Err(RusotoError::Unknown(response)) => code(&response),
        Err(other) => Err(format!("{other:?}").into()),
    }
}

async fn fault_met(client: &LambdaClient, fault: &str) -> Told {
    let request = named(&format!("fault-{}", fault.replace('.', "-")));
    match fault {
        "connection.stalled" => timed_out(client, request).await,
        "connection.cut" => match client.invoke(request).await {
            Err(RusotoError::HttpDispatch(_)) => Ok("connection".to_owned()),
            other => Err(format!("{other:?}").into()),
        },
        _ => match errors::kind(fault) {
            Some(kind) => refused(client.invoke(request), Some(kind)).await,
            None => Ok(format!("untyped {}", refused(client.invoke(request), None).await?)),
        },
    }
}

// ------------------------------------------------------------ the report

fn expect(condition: bool, seen: &impl std::fmt::Debug) -> Result<(), Box<dyn Error>> {
    if condition {
        Ok(())
    } else {
        Err(format!("unexpected: {seen:?}").into())
    }
}

async fn walk(step: &str, check: impl Future<Output = Told>) {
    let (ok, detail) = match check.await {
        Ok(detail) => (true, detail),
        Err(error) => (false, error.to_string()),
    };
    println!("{}", json!({"client": "rusoto", "step": step, "ok": ok, "detail": detail}));
}
