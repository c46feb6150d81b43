import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import software.amazon.awssdk.auth.credentials.AnonymousCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.exception.ApiCallAttemptTimeoutException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.http.SdkHttpRequest;
import software.amazon.awssdk.protocols.jsoncore.JsonNode;
import software.amazon.awssdk.services.lambda.LambdaAsyncClient;
import software.amazon.awssdk.services.lambda.LambdaClient;
import software.amazon.awssdk.services.lambda.model.FunctionCode;
import software.amazon.awssdk.services.lambda.model.GetFunctionRequest;
import software.amazon.awssdk.services.lambda.model.InvalidParameterValueException;
import software.amazon.awssdk.services.lambda.model.InvalidRequestContentException;
import software.amazon.awssdk.services.lambda.model.InvocationType;
import software.amazon.awssdk.services.lambda.model.InvokeRequest;
import software.amazon.awssdk.services.lambda.model.InvokeResponse;
import software.amazon.awssdk.services.lambda.model.InvokeWithResponseStreamCompleteEvent;
import software.amazon.awssdk.services.lambda.model.InvokeWithResponseStreamResponse;
import software.amazon.awssdk.services.lambda.model.InvokeWithResponseStreamResponseHandler;
import software.amazon.awssdk.services.lambda.model.LambdaException;
import software.amazon.awssdk.services.lambda.model.LogType;
import software.amazon.awssdk.services.lambda.model.ResourceConflictException;
import software.amazon.awssdk.services.lambda.model.ResourceNotFoundException;
import software.amazon.awssdk.services.lambda.model.ThrottleReason;
import software.amazon.awssdk.services.lambda.model.TooManyRequestsException;

/**
 * The conformance script with the AWS SDK for Java 2.
 *
 * <p>The endpoint comes from {@code AWS_ENDPOINT_URL_LAMBDA}, region and credentials from their usual
 * variables: nothing here knows that the server is not AWS. {@code CONFORMANCE_PACKAGE} names the function's
 * zip, {@code CONFORMANCE_RUNTIME} its runtime, {@code CONFORMANCE_FAULTS} the errors to meet, separated by
 * commas.
 */
public final class Walk {
  private static final String NAME = "conformance";
  private static final String ARN = "arn:aws:lambda:us-east-1:000000000000:function:" + NAME;
  private static final int LARGEST_EVENT_BYTES = 6_291_456;
  private static final String TRACE_ROOT = "1-5759e988-bd862e3fe1be46a994272793";

  private static final LambdaClient CLIENT = LambdaClient.create();
  private static final LambdaClient ONCE = withAttempts(1);
  private static final LambdaClient TWICE = withAttempts(2);
  private static final LambdaClient IMPATIENT =
      LambdaClient.builder()
          .overrideConfiguration(
              c -> c.retryStrategy(r -> r.maxAttempts(1)).apiCallAttemptTimeout(Duration.ofSeconds(1)))
          .build();

  private static LambdaClient withAttempts(int attempts) {
    return LambdaClient.builder()
        .overrideConfiguration(c -> c.retryStrategy(r -> r.maxAttempts(attempts)))
        .build();
  }

  public static void main(String[] arguments) {
    walk("create", Walk::create);
    walk("active", Walk::active);
    walk("publish", Walk::publish);
    walk("alias", Walk::makeAlias);
    walk("invoke", () -> invoked(SdkBytes.fromUtf8String("{\"a\":1}"), "{\"a\":1}"));
    walk("empty", () -> invoked(null, "{}"));
    walk("event", () -> accepted(InvocationType.EVENT));
    walk("dry-run", () -> accepted(InvocationType.DRY_RUN));
    walk("log-tail", Walk::logTail);
    walk("client-context", Walk::clientContext);
    walk("version", () -> versionOf(r -> r.functionName(NAME).qualifier("1")));
    walk("alias-qualifier", () -> versionOf(r -> r.functionName(NAME).qualifier("live")));
    walk("alias-in-name", () -> versionOf(r -> r.functionName(NAME + ":live")));
    walk("full-arn", () -> versionOf(r -> r.functionName(ARN + ":live")));
    walk("partial-arn", () -> versionOf(r -> r.functionName("000000000000:function:" + NAME + ":live")));
    walk("function-error", Walk::functionError);
    walk("request-id", Walk::requestId);
    walk("hook", Walk::hook);
    walk("large", Walk::large);
    walk(
        "not-found",
        () -> refused(ResourceNotFoundException.class, CLIENT, r -> r.functionName("nobody")));
    walk(
        "bad-parameter",
        () ->
            refused(
                InvalidParameterValueException.class,
                CLIENT,
                r -> r.functionName(NAME + ":live").qualifier("$LATEST")));
    walk(
        "bad-content",
        () ->
            refused(
                InvalidRequestContentException.class,
                CLIENT,
                r -> r.functionName(NAME).payload(SdkBytes.fromUtf8String("{"))));
    walk("conflict", () -> refused(ResourceConflictException.class, CLIENT, r -> r.functionName("broken")));
    // AWS's error for this is in no model: only the base class of all of them fits.
    walk(
        "too-large",
        () ->
            refused(
                LambdaException.class,
                CLIENT,
                r -> r.functionName(NAME).payload(largeEvent(LARGEST_EVENT_BYTES + 1))));
    walk("throttled", () -> throttled(CLIENT, "throttled"));
    walk("retries", () -> throttled(TWICE, "throttled-twice"));
    walk(
        "timeout",
        () -> timedOut(r -> r.functionName(NAME).payload(SdkBytes.fromUtf8String("{\"sleep\":3}"))));
    walk("unsigned", Walk::unsigned);
    walk("stream", Walk::stream);
    walk("stream-error", Walk::streamError);
    for (String fault : System.getenv().getOrDefault("CONFORMANCE_FAULTS", "").split(",")) {
      if (!fault.isEmpty()) {
        walk("fault:" + fault, () -> faultMet(fault));
      }
    }
    walk("delete", Walk::delete);
    // The threads of the asynchronous client are no reason to stay.
    System.exit(0);
  }

  // ------------------------------------------------------------ a function

  private static String create() throws IOException {
    SdkBytes code = SdkBytes.fromByteArray(Files.readAllBytes(Path.of(System.getenv("CONFORMANCE_PACKAGE"))));
    return CLIENT
        .createFunction(
            r ->
                r.functionName(NAME)
                    .runtime(System.getenv("CONFORMANCE_RUNTIME"))
                    .handler("index.handler")
                    .role("arn:aws:iam::000000000000:role/conformance")
                    .timeout(30)
                    .code(FunctionCode.builder().zipFile(code).build()))
        .stateAsString();
  }

  private static String active() {
    waitUntilActive(null);
    return CLIENT.getFunctionConfiguration(r -> r.functionName(NAME)).stateAsString();
  }

  private static void waitUntilActive(String qualifier) {
    CLIENT
        .waiter()
        .waitUntilFunctionActiveV2(
            (GetFunctionRequest.Builder r) -> r.functionName(NAME).qualifier(qualifier),
            o -> o.waitTimeout(Duration.ofMinutes(1)));
  }

  private static String publish() {
    String version = CLIENT.publishVersion(r -> r.functionName(NAME)).version();
    waitUntilActive(version);
    return version;
  }

  private static String makeAlias() {
    var alias = CLIENT.createAlias(r -> r.functionName(NAME).name("live").functionVersion("1"));
    expect(alias.aliasArn().equals(ARN + ":live"), alias);
    return alias.name() + " " + alias.functionVersion();
  }

  private static String delete() {
    return "" + CLIENT.deleteFunction(r -> r.functionName(NAME)).sdkHttpResponse().statusCode();
  }

  // ------------------------------------------------------------ answers

  /** Returns the payload. An error of the function is an answer too: see {@code functionError()}. */
  private static Map<String, JsonNode> payload(InvokeResponse answer) {
    return JsonNode.parser().parse(answer.payload().asByteArray()).asObject();
  }

  private static String invoked(SdkBytes event, String expected) {
    InvokeResponse answer = CLIENT.invoke(r -> r.functionName(NAME).payload(event));
    JsonNode seen = payload(answer).get("event");
    expect(seen.equals(JsonNode.parser().parse(expected)) && answer.functionError() == null, seen);
    return answer.statusCode() + " " + answer.executedVersion();
  }

  private static String accepted(InvocationType type) {
    InvokeResponse answer =
        CLIENT.invoke(
            r -> r.functionName(NAME).invocationType(type).payload(SdkBytes.fromUtf8String("{}")));
    expect(answer.payload() == null || answer.payload().asByteArrayUnsafe().length == 0, answer);
    return "" + answer.statusCode();
  }

  private static String logTail() {
    InvokeResponse answer = CLIENT.invoke(r -> r.functionName(NAME).logType(LogType.TAIL));
    String text = new String(Base64.getDecoder().decode(answer.logResult()), StandardCharsets.UTF_8);
    expect(text.contains("conformance was here") && text.contains("REPORT RequestId"), text);
    return "" + answer.statusCode();
  }

  private static String clientContext() {
    byte[] context = "{\"custom\":{\"who\":\"java\"}}".getBytes(StandardCharsets.UTF_8);
    InvokeResponse answer =
        CLIENT.invoke(
            r -> r.functionName(NAME).clientContext(Base64.getEncoder().encodeToString(context)));
    expect(payload(answer).get("custom").field("who").orElseThrow().asString().equals("java"), answer);
    return "" + answer.statusCode();
  }

  private static String versionOf(Consumer<InvokeRequest.Builder> request) {
    InvokeResponse answer = CLIENT.invoke(request);
    String ran = payload(answer).get("version").asString();
    expect(ran.equals(answer.executedVersion()), answer);
    return answer.statusCode() + " " + ran;
  }

  private static String functionError() {
    InvokeResponse answer =
        CLIENT.invoke(r -> r.functionName(NAME).payload(SdkBytes.fromUtf8String("{\"fail\":\"boom\"}")));
    Map<String, JsonNode> error = payload(answer);
    expect(error.get("errorMessage").asString().equals("boom"), error);
    return answer.statusCode() + " " + answer.functionError() + " " + error.get("errorType").asString();
  }

  private static String requestId() {
    InvokeResponse answer = CLIENT.invoke(r -> r.functionName(NAME));
    expect(payload(answer).get("request_id").asString().equals(answer.responseMetadata().requestId()), answer);
    return "" + answer.statusCode();
  }

  /** Adds a header to each request of a client, before it is signed. */
  private static final class Traced implements ExecutionInterceptor {
    @Override
    public SdkHttpRequest modifyHttpRequest(Context.ModifyHttpRequest context, ExecutionAttributes attributes) {
      String trace = "Root=" + TRACE_ROOT + ";Parent=53995c3f42cd8ad8;Sampled=1";
      return context.httpRequest().toBuilder().putHeader("X-Amzn-Trace-Id", trace).build();
    }
  }

  private static String hook() {
    try (LambdaClient hooked =
        LambdaClient.builder().overrideConfiguration(c -> c.addExecutionInterceptor(new Traced())).build()) {
      InvokeResponse answer = hooked.invoke(r -> r.functionName(NAME));
      expect(payload(answer).get("trace").asString().contains(TRACE_ROOT), answer);
      return "" + answer.statusCode();
    }
  }

  /** Returns an event of {@code size} bytes. */
  private static SdkBytes largeEvent(int size) {
    return SdkBytes.fromUtf8String("{\"echo\":\"" + "x".repeat(size - "{\"echo\":\"\"}".length()) + "\"}");
  }

  private static String large() {
    byte[] event = largeEvent(LARGEST_EVENT_BYTES).asByteArrayUnsafe();
    InvokeResponse answer =
        CLIENT.invoke(r -> r.functionName(NAME).payload(SdkBytes.fromByteArrayUnsafe(event)));
    byte[] echoed = Arrays.copyOfRange(event, "{\"echo\":".length(), event.length - 1);
    expect(Arrays.equals(answer.payload().asByteArrayUnsafe(), echoed), answer.payload().asByteArrayUnsafe().length);
    return answer.statusCode() + " " + event.length;
  }

  // ------------------------------------------------------------ refusals

  private static String refused(
      Class<? extends LambdaException> type, LambdaClient caller, Consumer<InvokeRequest.Builder> request) {
    try {
      throw new IllegalStateException("not refused: " + caller.invoke(request));
    } catch (LambdaException error) {
      if (!type.isInstance(error)) {
        throw error;
      }
      expect(!error.awsErrorDetails().errorMessage().isEmpty(), error);
      return told(error);
    }
  }

  private static String told(LambdaException error) {
    return error.awsErrorDetails().errorCode() + " " + error.statusCode();
  }

  private static String throttled(LambdaClient caller, String function) {
    try {
      throw new IllegalStateException("not refused: " + caller.invoke(r -> r.functionName(function)));
    } catch (TooManyRequestsException error) {
      expect(
          error.reason() == ThrottleReason.RESERVED_FUNCTION_CONCURRENT_INVOCATION_LIMIT_EXCEEDED,
          error.reasonAsString());
      return told(error);
    }
  }

  private static String timedOut(Consumer<InvokeRequest.Builder> request) {
    try {
      throw new IllegalStateException("answered: " + IMPATIENT.invoke(request));
    } catch (ApiCallAttemptTimeoutException error) {
      return "timeout";
    }
  }

  private static String unsigned() {
    try (LambdaClient anonymous =
        LambdaClient.builder().credentialsProvider(AnonymousCredentialsProvider.create()).build()) {
      return "" + anonymous.invoke(r -> r.functionName(NAME)).statusCode();
    } catch (LambdaException error) {
      return told(error);
    }
  }

  private static String faultMet(String fault) {
    String function = "fault-" + fault.replace('.', '-');
    if (fault.equals("connection.stalled")) {
      return timedOut(r -> r.functionName(function));
    }
    if (fault.equals("connection.cut")) {
      try {
        throw new IllegalStateException("answered: " + ONCE.invoke(r -> r.functionName(function)));
      } catch (SdkClientException error) {
        return "connection";
      }
    }
    Class<? extends LambdaException> type = Errors.BY_NAME.get(fault);
    return type == null
        ? "untyped " + refused(LambdaException.class, ONCE, r -> r.functionName(function))
        : refused(type, ONCE, r -> r.functionName(function));
  }

  // ------------------------------------------------------------ streams

  /** What a stream told; streams are the asynchronous client's alone. */
  private static final class Streamed {
    InvokeWithResponseStreamResponse answer;
    InvokeWithResponseStreamCompleteEvent end;
    SdkBytes payload = SdkBytes.fromUtf8String("");

    void add(SdkBytes chunk) {
      byte[] more = chunk.asByteArrayUnsafe();
      byte[] before = payload.asByteArrayUnsafe();
      byte[] all = Arrays.copyOf(before, before.length + more.length);
      System.arraycopy(more, 0, all, before.length, more.length);
      payload = SdkBytes.fromByteArrayUnsafe(all);
    }
  }

  private static Streamed streamed(String event) {
    Streamed told = new Streamed();
    try (LambdaAsyncClient client = LambdaAsyncClient.create()) {
      var visitor =
          InvokeWithResponseStreamResponseHandler.Visitor.builder()
              .onPayloadChunk(chunk -> told.add(chunk.payload()))
              .onInvokeComplete(end -> told.end = end)
              .build();
      var handler =
          InvokeWithResponseStreamResponseHandler.builder()
              .onResponse(answer -> told.answer = answer)
              .subscriber(visitor)
              .build();
      client
          .invokeWithResponseStream(
              r -> r.functionName(NAME).payload(SdkBytes.fromUtf8String(event)), handler)
          .join();
    } catch (CompletionException failure) {
      throw new IllegalStateException(failure.getCause());
    }
    expect(told.end != null, "no end");
    return told;
  }

  private static String stream() {
    Streamed told = streamed("{\"a\":1}");
    Map<String, JsonNode> answer = JsonNode.parser().parse(told.payload.asByteArrayUnsafe()).asObject();
    expect(answer.get("event").field("a").isPresent() && told.end.errorCode() == null, answer);
    return told.answer.statusCode() + " InvokeComplete";
  }

  private static String streamError() {
    Streamed told = streamed("{\"fail\":\"boom\"}");
    expect(!told.end.errorDetails().isEmpty(), told.end);
    return told.answer.statusCode() + " " + told.end.errorCode();
  }

  // ------------------------------------------------------------ the report

  private static void expect(boolean condition, Object seen) {
    if (!condition) {
      throw new IllegalStateException("unexpected: " + seen);
    }
  }

  private static void walk(String step, Callable<String> check) {
    boolean ok = true;
    String detail;
    try {
      detail = check.call();
    } catch (Exception error) {
      ok = false;
      detail = error.toString();
    }
    System.out.printf(
        "{\"client\":\"java\",\"step\":\"%s\",\"ok\":%s,\"detail\":\"%s\"}%n",
        step, ok, detail.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n"));
  }
}
