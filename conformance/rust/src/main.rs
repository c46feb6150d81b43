//! The conformance script with aws-sdk-lambda.
//!
//! The endpoint comes from `AWS_ENDPOINT_URL_LAMBDA`, region and credentials from their usual variables:
//! nothing here knows that the server is not AWS. `CONFORMANCE_PACKAGE` names the function's zip,
//! `CONFORMANCE_RUNTIME` its runtime, `CONFORMANCE_FAULTS` the errors to meet, separated by commas.

mod errors;

use std::env;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::BehaviorVersion;
use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::config::Config;
use aws_sdk_lambda::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::builders::InvokeFluentBuilder;
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    FunctionCode, InvocationType, InvokeWithResponseStreamCompleteEvent,
    InvokeWithResponseStreamResponseEvent, LogType, Runtime, ThrottleReason,
};
use aws_sdk_lambda::Client;
use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Value};

const NAME: &str = "conformance";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:conformance";
const LARGEST_EVENT_BYTES: usize = 6_291_456;
const TRACE_ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// What a step tells, or what was wrong.
type Told = Result<String, Box<dyn Error>>;

#[tokio::main]
async fn main() {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = &Client::new(&config);

    walk("create", create(client)).await;
    walk("active", active(client)).await;
    walk("publish", publish(client)).await;
    walk("alias", make_alias(client)).await;
    walk("invoke", invoked(client, Some(json!({"a": 1})))).await;
    walk("empty", invoked(client, None)).await;
    walk("event", accepted(client, InvocationType::Event)).await;
    walk("dry-run", accepted(client, InvocationType::DryRun)).await;
    walk("log-tail", log_tail(client)).await;
    walk("client-context", client_context(client)).await;
    let named = |name: &str| client.invoke().function_name(name);
    walk("version", version_of(named(NAME).qualifier("1"))).await;
    walk("alias-qualifier", version_of(named(NAME).qualifier("live"))).await;
    walk("alias-in-name", version_of(named("conformance:live"))).await;
    walk("full-arn", version_of(named(&format!("{ARN}:live")))).await;
    walk("partial-arn", version_of(named("000000000000:function:conformance:live"))).await;
    walk("function-error", function_error(client)).await;
    walk("request-id", request_id(client)).await;
    walk("hook", hook(client)).await;
    walk("large", large(client)).await;
    let nobody = named("nobody").send();
    walk("not-found", refused(nobody, InvokeError::is_resource_not_found_exception)).await;
    let twofold = named("conformance:live").qualifier("$LATEST").send();
    walk("bad-parameter", refused(twofold, InvokeError::is_invalid_parameter_value_exception)).await;
    let broken_json = named(NAME).payload(Blob::new("{")).send();
    walk("bad-content", refused(broken_json, InvokeError::is_invalid_request_content_exception)).await;
    let broken = named("broken").send();
    walk("conflict", refused(broken, InvokeError::is_resource_conflict_exception)).await;
    // AWS's error for this is in no model: it has a code, and no variant of its own.
    let too_large = named(NAME).payload(Blob::new(large_event(LARGEST_EVENT_BYTES + 1))).send();
    walk("too-large", refused(too_large, |error| error.code() == Some("RequestEntityTooLargeException")))
        .await;
    walk("throttled", throttled(named("throttled").send())).await;
    walk("retries", throttled(with_attempts(named("throttled-twice"), 2))).await;
    walk("timeout", timed_out(named(NAME).payload(Blob::new(r#"{"sleep":3}"#)))).await;
    walk("unsigned", unsigned()).await;
    walk("stream", stream(client)).await;
    walk("stream-error", stream_error(client)).await;
    let faults = env::var("CONFORMANCE_FAULTS").unwrap_or_default();
    for fault in faults.split(',').filter(|name| !name.is_empty()) {
        walk(&format!("fault:{fault}"), fault_met(client, fault)).await;
    }
    walk("delete", delete(client)).await;
}

// ------------------------------------------------------------ a function

async fn create(client: &Client) -> Told {
    let code = std::fs::read(env::var("CONFORMANCE_PACKAGE")?)?;
    let made = client
        .create_function()
        .function_name(NAME)
        .runtime(Runtime::from(env::var("CONFORMANCE_RUNTIME")?.as_str()))
        .handler("index.handler")
        .role("arn:aws:iam::000000000000:role/conformance")
        .timeout(30)
        .code(FunctionCode::builder().zip_file(Blob::new(code)).build())
        .send()
        .await?;
    Ok(made.state().ok_or("no state")?.to_string())
}

async fn active(client: &Client) -> Told {
    client.wait_until_function_active_v2().function_name(NAME).wait(Duration::from_secs(60)).await?;
    let found = client.get_function_configuration().function_name(NAME).send().await?;
    Ok(found.state().ok_or("no state")?.to_string())
}

async fn publish(client: &Client) -> Told {
    let published = client.publish_version().function_name(NAME).send().await?;
    let version = published.version().ok_or("no version")?;
    client
        .wait_until_function_active_v2()
        .function_name(NAME)
        .qualifier(version)
        .wait(Duration::from_secs(60))
        .await?;
    Ok(version.to_owned())
}

async fn make_alias(client: &Client) -> Told {
    let alias = client.create_alias().function_name(NAME).name("live").function_version("1").send().await?;
    expect(alias.alias_arn() == Some(&format!("{ARN}:live")), &alias)?;
    Ok(format!("{} {}", alias.name().unwrap_or_default(), alias.function_version().unwrap_or_default()))
}

async fn delete(client: &Client) -> Told {
    let answer = client.delete_function().function_name(NAME).send().await?;
    Ok(answer.status_code().to_string())
}

// ------------------------------------------------------------ answers

/// Returns the payload of an answer. An error of the function is an answer too: see `function_error()`.
fn payload(answer: &InvokeOutput) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(answer.payload().ok_or("no payload")?.as_ref())?)
}

async fn invoked(client: &Client, event: Option<Value>) -> Told {
    let request = client.invoke().function_name(NAME);
    let request = request.set_payload(event.as_ref().map(|event| Blob::new(event.to_string())));
    let answer = request.send().await?;
    let told = payload(&answer)?;
    expect(told["event"] == event.unwrap_or(json!({})) && answer.function_error().is_none(), &told)?;
    Ok(format!("{} {}", answer.status_code(), answer.executed_version().unwrap_or_default()))
}

async fn accepted(client: &Client, kind: InvocationType) -> Told {
    let request = client.invoke().function_name(NAME).invocation_type(kind);
    let answer = request.payload(Blob::new("{}")).send().await?;
    expect(answer.payload().is_none_or(|payload| payload.as_ref().is_empty()), &answer)?;
    Ok(answer.status_code().to_string())
}

async fn log_tail(client: &Client) -> Told {
    let answer = client.invoke().function_name(NAME).log_type(LogType::Tail).send().await?;
    let tail = String::from_utf8(BASE64_STANDARD.decode(answer.log_result().ok_or("no log")?)?)?;
    expect(tail.contains("conformance was here") && tail.contains("REPORT RequestId"), &tail)?;
    Ok(answer.status_code().to_string())
}

async fn client_context(client: &Client) -> Told {
    let context = BASE64_STANDARD.encode(r#"{"custom":{"who":"rust"}}"#);
    let answer = client.invoke().function_name(NAME).client_context(context).send().await?;
    expect(payload(&answer)?["custom"]["who"] == "rust", &answer)?;
    Ok(answer.status_code().to_string())
}

async fn version_of(request: InvokeFluentBuilder) -> Told {
    let answer = request.send().await?;
    let told = payload(&answer)?;
    expect(told["version"].as_str() == answer.executed_version(), &told)?;
    Ok(format!("{} {}", answer.status_code(), answer.executed_version().unwrap_or_default()))
}

async fn function_error(client: &Client) -> Told {
    let event = Blob::new(r#"{"fail":"boom"}"#);
    let answer = client.invoke().function_name(NAME).payload(event).send().await?;
    let error = payload(&answer)?;
    expect(error["errorMessage"] == "boom", &error)?;
    let kind = error["errorType"].as_str().unwrap_or_default();
    Ok(format!("{} {} {kind}", answer.status_code(), answer.function_error().unwrap_or_default()))
}

async fn request_id(client: &Client) -> Told {
    let answer = client.invoke().function_name(NAME).send().await?;
    expect(payload(&answer)?["request_id"].as_str() == answer.request_id(), &answer)?;
    Ok(answer.status_code().to_string())
}

/// Adds a header to one call, before it is signed.
async fn hook(client: &Client) -> Told {
    let trace = format!("Root={TRACE_ROOT};Parent=53995c3f42cd8ad8;Sampled=1");
    let answer = client
        .invoke()
        .function_name(NAME)
        .customize()
        .mutate_request(move |request| {
            request.headers_mut().insert("X-Amzn-Trace-Id", trace.clone());
        })
        .send()
        .await?;
    let told = payload(&answer)?;
    expect(told["trace"].as_str().is_some_and(|trace| trace.contains(TRACE_ROOT)), &told)?;
    Ok(answer.status_code().to_string())
}

/// Returns an event of `size` bytes.
fn large_event(size: usize) -> String {
    format!(r#"{{"echo":"{}"}}"#, "x".repeat(size - r#"{"echo":""}"#.len()))
}

async fn large(client: &Client) -> Told {
    let event = large_event(LARGEST_EVENT_BYTES);
    let answer = client.invoke().function_name(NAME).payload(Blob::new(event.as_str())).send().await?;
    let echoed = &event.as_bytes()[r#"{"echo":"#.len()..event.len() - 1];
    expect(answer.payload().is_some_and(|payload| payload.as_ref() == echoed), &answer.status_code())?;
    Ok(format!("{} {}", answer.status_code(), event.len()))
}

// ------------------------------------------------------------ refusals

type Failure = SdkError<InvokeError, HttpResponse>;

/// Tells code and status of the error that a call ends with, if it is of the kind and has a message.
async fn refused(
    call: impl Future<Output = Result<InvokeOutput, Failure>>,
    is_expected: impl Fn(&InvokeError) -> bool,
) -> Told {
    let failure = call.await.err().ok_or("not refused")?;
    let Some(error) = failure.as_service_error().filter(|error| is_expected(error)) else {
        return Err(failure.into());
    };
    expect(error.message().is_some_and(|message| !message.is_empty()), error)?;
    Ok(told(&failure, error))
}

fn told(failure: &Failure, error: &InvokeError) -> String {
    let status = failure.raw_response().map(|response| response.status().as_u16()).unwrap_or_default();
    format!("{} {status}", error.code().unwrap_or_default())
}

async fn throttled(call: impl Future<Output = Result<InvokeOutput, Failure>>) -> Told {
    refused(call, |error| {
        matches!(error, InvokeError::TooManyRequestsException(busy)
            if busy.reason() == Some(&ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded))
    })
    .await
}

async fn with_attempts(request: InvokeFluentBuilder, attempts: u32) -> Result<InvokeOutput, Failure> {
    let retries = RetryConfig::standard().with_max_attempts(attempts);
    request.customize().config_override(Config::builder().retry_config(retries)).send().await
}

/// Gives a call a second for each read and one attempt.
async fn timed_out(request: InvokeFluentBuilder) -> Told {
    let limits = TimeoutConfig::builder().read_timeout(Duration::from_secs(1)).build();
    let impatient = Config::builder().timeout_config(limits).retry_config(RetryConfig::disabled());
    match request.customize().config_override(impatient).send().await {
        Err(SdkError::TimeoutError(_)) => Ok("timeout".to_owned()),
        Err(SdkError::DispatchFailure(failure)) if failure.is_timeout() => Ok("timeout".to_owned()),
        Err(other) => Err(other.into()),
        Ok(answer) => Err(format!("{answer:?}").into()),
    }
}

async fn unsigned() -> Told {
    let config = aws_config::defaults(BehaviorVersion::latest()).no_credentials().load().await;
    // Without this the client refuses to call what is meant to be signed.
    let anonymous = aws_sdk_lambda::config::Builder::from(&config).allow_no_auth().build();
    match Client::from_conf(anonymous).invoke().function_name(NAME).send().await {
        Ok(answer) => Ok(answer.status_code().to_string()),
        Err(failure) => match failure.as_service_error() {
            Some(error) => Ok(told(&failure, error)),
            None => Err(failure.into()),
        },
    }
}

async fn fault_met(client: &Client, fault: &str) -> Told {
    let request = client.invoke().function_name(format!("fault-{}", fault.replace('.', "-")));
    match fault {
        "connection.stalled" => timed_out(request).await,
        "connection.cut" => match with_attempts(request, 1).await {
            Err(SdkError::DispatchFailure(failure)) if !failure.is_timeout() => Ok("connection".to_owned()),
            Err(other) => Err(other.into()),
            Ok(answer) => Err(format!("{answer:?}").into()),
        },
        _ => match errors::kind(fault) {
            Some(is_kind) => refused(with_attempts(request, 1), is_kind).await,
            None => Ok(format!("untyped {}", refused(with_attempts(request, 1), |_| true).await?)),
        },
    }
}

// ------------------------------------------------------------ streams

async fn streamed(
    client: &Client,
    event: &str,
) -> Result<(i32, Vec<u8>, InvokeWithResponseStreamCompleteEvent), Box<dyn Error>> {
    let request = client.invoke_with_response_stream().function_name(NAME);
    let mut answer = request.payload(Blob::new(event)).send().await?;
    let (mut payload, mut end) = (Vec::new(), None);
    while let Some(event) = answer.event_stream.recv().await? {
        match event {
            InvokeWithResponseStreamResponseEvent::PayloadChunk(chunk) => {
                payload.extend_from_slice(chunk.payload().map(AsRef::as_ref).unwrap_or_default());
            }
            InvokeWithResponseStreamResponseEvent::InvokeComplete(complete) => end = Some(complete),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok((answer.status_code(), payload, end.ok_or("no end")?))
}

async fn stream(client: &Client) -> Told {
    let (status, payload, end) = streamed(client, r#"{"a":1}"#).await?;
    let told: Value = serde_json::from_slice(&payload)?;
    expect(told["event"] == json!({"a": 1}) && end.error_code().is_none(), &end)?;
    Ok(format!("{status} InvokeComplete"))
}

async fn stream_error(client: &Client) -> Told {
    let (status, _, end) = streamed(client, r#"{"fail":"boom"}"#).await?;
    expect(end.error_details().is_some_and(|details| !details.is_empty()), &end)?;
    Ok(format!("{status} {}", end.error_code().unwrap_or_default()))
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
        Err(error) => (false, DisplayErrorContext(&*error).to_string()),
    };
    println!("{}", json!({"client": "rust", "step": step, "ok": ok, "detail": detail}));
}
