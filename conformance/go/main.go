// Command walk goes through the conformance script with aws-sdk-go-v2.
//
// The endpoint comes from AWS_ENDPOINT_URL_LAMBDA, region and credentials from their usual variables:
// nothing here knows that the server is not AWS. CONFORMANCE_PACKAGE names the function's zip,
// CONFORMANCE_RUNTIME its runtime, CONFORMANCE_FAULTS the errors to meet, separated by commas.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	name              = "conformance"
	arn               = "arn:aws:lambda:us-east-1:000000000000:function:" + name
	largestEventBytes = 6_291_456
	traceRoot         = "1-5759e988-bd862e3fe1be46a994272793"
)

var (
	ctx    = context.Background()
	client *lambda.Client
	no     = errors.New("what came is not what was expected")
)

// result is what the function answers.
type result struct {
	Event     json.RawMessage `json:"event"`
	Custom    map[string]any  `json:"custom"`
	Version   string          `json:"version"`
	RequestID string          `json:"request_id"`
	Trace     string          `json:"trace"`
}

func main() {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		panic(err)
	}
	client = lambda.NewFromConfig(loaded)

	walk("create", create)
	walk("active", active)
	walk("publish", publish)
	walk("alias", makeAlias)
	walk("invoke", func() (string, error) { return invoked([]byte(`{"a":1}`), `{"a":1}`) })
	walk("empty", func() (string, error) { return invoked(nil, `{}`) })
	walk("event", func() (string, error) { return accepted(types.InvocationTypeEvent) })
	walk("dry-run", func() (string, error) { return accepted(types.InvocationTypeDryRun) })
	walk("log-tail", logTail)
	walk("client-context", clientContext)
	walk("version", func() (string, error) { return versionOf(name, aws.String("1")) })
	walk("alias-qualifier", func() (string, error) { return versionOf(name, aws.String("live")) })
	walk("alias-in-name", func() (string, error) { return versionOf(name+":live", nil) })
	walk("full-arn", func() (string, error) { return versionOf(arn+":live", nil) })
	walk("partial-arn", func() (string, error) { return versionOf("000000000000:function:"+name+":live", nil) })
	walk("function-error", functionError)
	walk("request-id", requestID)
	walk("hook", hook)
	walk("large", large)
	walk("not-found", refusal[*types.ResourceNotFoundException](&lambda.InvokeInput{FunctionName: aws.String("nobody")}))
	walk("bad-parameter", refusal[*types.InvalidParameterValueException](
		&lambda.InvokeInput{FunctionName: aws.String(name + ":live"), Qualifier: aws.String("$LATEST")}))
	walk("bad-content", refusal[*types.InvalidRequestContentException](
		&lambda.InvokeInput{FunctionName: aws.String(name), Payload: []byte("{")}))
	walk("conflict", refusal[*types.ResourceConflictException](&lambda.InvokeInput{FunctionName: aws.String("broken")}))
	// AWS's error for this is in no model: only the interface of all of them fits.
	walk("too-large", refusal[smithy.APIError](
		&lambda.InvokeInput{FunctionName: aws.String(name), Payload: largeEvent(largestEventBytes + 1)}))
	walk("throttled", throttled("throttled"))
	walk("retries", throttled("throttled-twice", func(o *lambda.Options) { o.RetryMaxAttempts = 2 }))
	walk("timeout", func() (string, error) { return timedOut(name, []byte(`{"sleep":3}`)) })
	walk("unsigned", unsigned)
	walk("stream", stream)
	walk("stream-error", streamError)
	for _, fault := range strings.FieldsFunc(os.Getenv("CONFORMANCE_FAULTS"), func(r rune) bool { return r == ',' }) {
		walk("fault:"+fault, func() (string, error) { return faultMet(fault) })
	}
	walk("delete", remove)
}

// ------------------------------------------------------------ a function

func create() (string, error) {
	code, err := os.ReadFile(os.Getenv("CONFORMANCE_PACKAGE"))
	if err != nil {
		return "", err
	}
	out, err := client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String(name),
		Runtime:      types.Runtime(os.Getenv("CONFORMANCE_RUNTIME")),
		Handler:      aws.String("index.handler"),
		Role:         aws.String("arn:aws:iam::000000000000:role/conformance"),
		Timeout:      aws.Int32(30),
		Code:         &types.FunctionCode{ZipFile: code},
	})
	if err != nil {
		return "", err
	}
	return string(out.State), nil
}

func waitUntilActive(qualifier *string) (*lambda.GetFunctionOutput, error) {
	waiter := lambda.NewFunctionActiveV2Waiter(client, func(o *lambda.FunctionActiveV2WaiterOptions) {
		o.MinDelay = 100 * time.Millisecond
	})
	in := &lambda.GetFunctionInput{FunctionName: aws.String(name), Qualifier: qualifier}
	return waiter.WaitForOutput(ctx, in, time.Minute)
}

func active() (string, error) {
	out, err := waitUntilActive(nil)
	if err != nil {
		return "", err
	}
	return string(out.Configuration.State), nil
}

func publish() (string, error) {
	out, err := client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String(name)})
	if err != nil {
		return "", err
	}
	_, err = waitUntilActive(out.Version)
	return aws.ToString(out.Version), err
}

func makeAlias() (string, error) {
	out, err := client.CreateAlias(ctx, &lambda.CreateAliasInput{
		FunctionName: aws.String(name), Name: aws.String("live"), FunctionVersion: aws.String("1"),
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Name) + " " + aws.ToString(out.FunctionVersion), nil
}

func remove() (string, error) {
	out, err := client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String(name)})
	if err != nil {
		return "", err
	}
	response := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
	return fmt.Sprint(response.StatusCode), nil
}

// ------------------------------------------------------------ answers

// call invokes the function and reads its answer. An error of the function is no Go error: look at FunctionError.
func call(in *lambda.InvokeInput, options ...func(*lambda.Options)) (*lambda.InvokeOutput, result, error) {
	var told result
	if in.FunctionName == nil {
		in.FunctionName = aws.String(name)
	}
	out, err := client.Invoke(ctx, in, options...)
	if err != nil {
		return nil, told, err
	}
	return out, told, json.Unmarshal(out.Payload, &told)
}

func invoked(payload []byte, event string) (string, error) {
	out, told, err := call(&lambda.InvokeInput{Payload: payload})
	if err != nil {
		return "", err
	}
	var compact bytes.Buffer
	if json.Compact(&compact, told.Event); compact.String() != event || out.FunctionError != nil {
		return compact.String(), no
	}
	return fmt.Sprint(out.StatusCode, " ", aws.ToString(out.ExecutedVersion)), nil
}

func accepted(kind types.InvocationType) (string, error) {
	out, err := client.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: aws.String(name), InvocationType: kind, Payload: []byte("{}"),
	})
	if err != nil {
		return "", err
	}
	if len(out.Payload) != 0 {
		return string(out.Payload), no
	}
	return fmt.Sprint(out.StatusCode), nil
}

func logTail() (string, error) {
	out, _, err := call(&lambda.InvokeInput{LogType: types.LogTypeTail})
	if err != nil {
		return "", err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	if !bytes.Contains(text, []byte("conformance was here")) || !bytes.Contains(text, []byte("REPORT RequestId")) {
		return string(text), no
	}
	return fmt.Sprint(out.StatusCode), err
}

func clientContext() (string, error) {
	encoded := base64.StdEncoding.EncodeToString([]byte(`{"custom":{"who":"go"}}`))
	out, told, err := call(&lambda.InvokeInput{ClientContext: aws.String(encoded)})
	if err != nil {
		return "", err
	}
	if told.Custom["who"] != "go" {
		return fmt.Sprint(told.Custom), no
	}
	return fmt.Sprint(out.StatusCode), nil
}

func versionOf(function string, qualifier *string) (string, error) {
	out, told, err := call(&lambda.InvokeInput{FunctionName: aws.String(function), Qualifier: qualifier})
	if err != nil {
		return "", err
	}
	if aws.ToString(out.ExecutedVersion) != told.Version {
		return aws.ToString(out.ExecutedVersion), no
	}
	return fmt.Sprint(out.StatusCode, " ", told.Version), nil
}

func functionError() (string, error) {
	out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: []byte(`{"fail":"boom"}`)})
	if err != nil {
		return "", err
	}
	var failure struct{ ErrorMessage, ErrorType string }
	if err := json.Unmarshal(out.Payload, &failure); err != nil || failure.ErrorMessage != "boom" {
		return string(out.Payload), no
	}
	return fmt.Sprint(out.StatusCode, " ", aws.ToString(out.FunctionError), " ", failure.ErrorType), nil
}

func requestID() (string, error) {
	out, told, err := call(&lambda.InvokeInput{})
	if err != nil {
		return "", err
	}
	if id, ok := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata); !ok || id != told.RequestID {
		return id, no
	}
	return fmt.Sprint(out.StatusCode), nil
}

// hook adds a header with a middleware, for one call.
func hook() (string, error) {
	trace := smithyhttp.SetHeaderValue(
		"X-Amzn-Trace-Id", "Root="+traceRoot+";Parent=53995c3f42cd8ad8;Sampled=1")
	out, told, err := call(&lambda.InvokeInput{}, func(o *lambda.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return trace(stack) })
	})
	if err != nil {
		return "", err
	}
	if !strings.Contains(told.Trace, traceRoot) {
		return told.Trace, no
	}
	return fmt.Sprint(out.StatusCode), nil
}

// largeEvent returns an event of size bytes.
func largeEvent(size int) []byte {
	return []byte(`{"echo":"` + strings.Repeat("x", size-len(`{"echo":""}`)) + `"}`)
}

func large() (string, error) {
	event := largeEvent(largestEventBytes)
	out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: event})
	if err != nil {
		return "", err
	}
	if !bytes.Equal(out.Payload, event[len(`{"echo":`):len(event)-1]) {
		return fmt.Sprint(len(out.Payload)), no
	}
	return fmt.Sprint(out.StatusCode, " ", len(event)), nil
}

// ------------------------------------------------------------ refusals

// refused tells code and status of an error, if it is of the type and has a message.
func refused[T smithy.APIError](err error) (string, error) {
	var typed T
	if !errors.As(err, &typed) {
		return "", err
	}
	if typed.ErrorMessage() == "" {
		return "no message", no
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return "", err
	}
	return fmt.Sprint(typed.ErrorCode(), " ", response.HTTPStatusCode()), nil
}

func once(o *lambda.Options) { o.RetryMaxAttempts = 1 }

func refusal[T smithy.APIError](in *lambda.InvokeInput) func() (string, error) {
	return func() (string, error) {
		_, err := client.Invoke(ctx, in)
		if err == nil {
			return "not refused", no
		}
		return refused[T](err)
	}
}

func throttled(function string, options ...func(*lambda.Options)) func() (string, error) {
	return func() (string, error) {
		_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(function)}, options...)
		var busy *types.TooManyRequestsException
		if errors.As(err, &busy) && busy.Reason != types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded {
			return string(busy.Reason), no
		}
		return refused[*types.TooManyRequestsException](err)
	}
}

// timedOut gives a call a second; the error is the context's.
func timedOut(function string, payload []byte) (string, error) {
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := client.Invoke(short, &lambda.InvokeInput{FunctionName: aws.String(function), Payload: payload}, once)
	if !errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("no timeout: %w", err)
	}
	return "timeout", nil
}

func unsigned() (string, error) {
	anonymous := lambda.New(client.Options(), func(o *lambda.Options) { o.Credentials = aws.AnonymousCredentials{} })
	out, err := anonymous.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name)})
	if err != nil {
		return refused[smithy.APIError](err)
	}
	return fmt.Sprint(out.StatusCode), nil
}

// ofType tells which errors are of which Go type.
var ofType = map[string]func(error) (string, error){
	"CodeArtifactUserDeletedException":         refused[*types.CodeArtifactUserDeletedException],
	"CodeArtifactUserFailedException":          refused[*types.CodeArtifactUserFailedException],
	"CodeArtifactUserPendingException":         refused[*types.CodeArtifactUserPendingException],
	"DurableExecutionAlreadyStartedException":  refused[*types.DurableExecutionAlreadyStartedException],
	"EC2AccessDeniedException":                 refused[*types.EC2AccessDeniedException],
	"EC2ThrottledException":                    refused[*types.EC2ThrottledException],
	"EC2UnexpectedException":                   refused[*types.EC2UnexpectedException],
	"EFSIOException":                           refused[*types.EFSIOException],
	"EFSMountConnectivityException":            refused[*types.EFSMountConnectivityException],
	"EFSMountFailureException":                 refused[*types.EFSMountFailureException],
	"EFSMountTimeoutException":                 refused[*types.EFSMountTimeoutException],
	"ENILimitReachedException":                 refused[*types.ENILimitReachedException],
	"ENINotReadyException":                     refused[*types.ENINotReadyException],
	"InvalidParameterValueException":           refused[*types.InvalidParameterValueException],
	"InvalidRequestContentException":           refused[*types.InvalidRequestContentException],
	"InvalidRuntimeException":                  refused[*types.InvalidRuntimeException],
	"InvalidSecurityGroupIDException":          refused[*types.InvalidSecurityGroupIDException],
	"InvalidSubnetIDException":                 refused[*types.InvalidSubnetIDException],
	"InvalidZipFileException":                  refused[*types.InvalidZipFileException],
	"KMSAccessDeniedException":                 refused[*types.KMSAccessDeniedException],
	"KMSDisabledException":                     refused[*types.KMSDisabledException],
	"KMSInvalidStateException":                 refused[*types.KMSInvalidStateException],
	"KMSNotFoundException":                     refused[*types.KMSNotFoundException],
	"ModeNotSupportedException":                refused[*types.ModeNotSupportedException],
	"NoPublishedVersionException":              refused[*types.NoPublishedVersionException],
	"RecursiveInvocationException":             refused[*types.RecursiveInvocationException],
	"RequestTooLargeException":                 refused[*types.RequestTooLargeException],
	"ResourceConflictException":                refused[*types.ResourceConflictException],
	"ResourceNotFoundException":                refused[*types.ResourceNotFoundException],
	"ResourceNotReadyException":                refused[*types.ResourceNotReadyException],
	"S3FilesMountConnectivityException":        refused[*types.S3FilesMountConnectivityException],
	"S3FilesMountFailureException":             refused[*types.S3FilesMountFailureException],
	"S3FilesMountTimeoutException":             refused[*types.S3FilesMountTimeoutException],
	"SerializedRequestEntityTooLargeException": refused[*types.SerializedRequestEntityTooLargeException],
	"ServiceException":                         refused[*types.ServiceException],
	"ServiceQuotaExceededException":            refused[*types.ServiceQuotaExceededException],
	"SnapStartException":                       refused[*types.SnapStartException],
	"SnapStartNotReadyException":               refused[*types.SnapStartNotReadyException],
	"SnapStartRegenerationFailureException":    refused[*types.SnapStartRegenerationFailureException],
	"SnapStartTimeoutException":                refused[*types.SnapStartTimeoutException],
	"SubnetIPAddressLimitReachedException":     refused[*types.SubnetIPAddressLimitReachedException],
	"TooManyRequestsException":                 refused[*types.TooManyRequestsException],
	"UnsupportedMediaTypeException":            refused[*types.UnsupportedMediaTypeException],
}

func faultMet(fault string) (string, error) {
	function := "fault-" + strings.ReplaceAll(fault, ".", "-")
	if fault == "connection.stalled" {
		return timedOut(function, nil)
	}
	_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(function)}, once)
	if fault == "connection.cut" {
		var failed net.Error
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.As(err, &failed) {
			return "connection", nil
		}
		return "", fmt.Errorf("no connection error: %w", err)
	}
	if err == nil {
		return "not refused", no
	}
	if typed, known := ofType[fault]; known {
		return typed(err)
	}
	detail, err := refused[smithy.APIError](err)
	return "untyped " + detail, err
}

// ------------------------------------------------------------ streams

func streamed(payload string) (status int32, answer []byte, end *types.InvokeWithResponseStreamCompleteEvent, err error) {
	out, err := client.InvokeWithResponseStream(ctx, &lambda.InvokeWithResponseStreamInput{
		FunctionName: aws.String(name), Payload: []byte(payload),
	})
	if err != nil {
		return 0, nil, nil, err
	}
	stream := out.GetStream()
	defer stream.Close()
	for event := range stream.Events() {
		switch each := event.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			answer = append(answer, each.Value.Payload...)
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			end = &each.Value
		}
	}
	if err := stream.Err(); err != nil || end == nil {
		return out.StatusCode, answer, nil, errors.Join(err, no)
	}
	return out.StatusCode, answer, end, nil
}

func stream() (string, error) {
	status, answer, end, err := streamed(`{"a":1}`)
	if err != nil {
		return "", err
	}
	var told result
	if err := json.Unmarshal(answer, &told); err != nil || end.ErrorCode != nil {
		return string(answer), no
	}
	return fmt.Sprint(status, " InvokeComplete"), nil
}

func streamError() (string, error) {
	status, _, end, err := streamed(`{"fail":"boom"}`)
	if err != nil {
		return "", err
	}
	if end.ErrorDetails == nil {
		return "no details", no
	}
	return fmt.Sprint(status, " ", aws.ToString(end.ErrorCode)), nil
}

// ------------------------------------------------------------ the report

func walk(step string, check func() (string, error)) {
	detail, err := check()
	if err != nil {
		detail = strings.TrimSpace(detail + " " + err.Error())
	}
	line, _ := json.Marshal(map[string]any{"client": "go", "step": step, "ok": err == nil, "detail": detail})
	fmt.Println(string(line))
}
