"""Requests of the clients that cannot run in these tests, byte for byte.

They are those of docs/aws-behaviour.md, clients 1, 2 and 7: recorded from the clients, or
constructed from their sources. Their signatures are those of ``KEYS``.
"""

from __future__ import annotations

from lambent.wire.sigv4 import Keys

KEYS = Keys("AKIDEXAMPLE", "secret")


def _golden(head: str, body: str = "") -> bytes:
    return head.strip().replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()


BOTO3 = _golden(
    """
POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello%3Aprod/invocations?Qualifier=%24LATEST HTTP/1.1
Host: 127.0.0.1:9101
Accept-Encoding: identity
X-Amz-Invocation-Type: Event
User-Agent: Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1 os/linux#6.18.44-fc-v669 md/arch#x86_64 lang/python#3.11.7 md/pyimpl#CPython m/b,D,N,g,Z cfg/retry-mode#legacy Botocore/1.43.11
X-Amz-Date: 20261120T193907Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date;x-amz-invocation-type, Signature=68ef55ad27204725df086e7e4ef6765dfec89c6ea31c186621682613aad78879
amz-sdk-invocation-id: 7ddfad26-1eb1-41b1-959e-1656e159bc02
amz-sdk-request: attempt=1
Content-Length: 9
""",
    '{"a":"x"}',
)
GO = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
Host: 127.0.0.1:9102
User-Agent: aws-sdk-go-v2/1.17.1 os/linux lang/go/1.19.8 md/GOOS/linux md/GOARCH/amd64 api/lambda/1.24.8
Content-Length: 2
Amz-Sdk-Invocation-Id: 900f8f20-e77c-4aee-9b72-0fbd2abf9d3e
Amz-Sdk-Request: attempt=1; max=3
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120//lambda/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-client-context;x-amz-date;x-amz-invocation-type;x-amz-log-type, Signature=11ea22892485365c90bf645b269724849dbc3d12ad887ec32b2b616e79897411
Content-Type: application/octet-stream
X-Amz-Client-Context: eyJjdXN0b20iOnt9fQ==
X-Amz-Date: 20261120T193959Z
X-Amz-Invocation-Type: RequestResponse
X-Amz-Log-Type: Tail
Accept-Encoding: gzip
""",
    "{}",
)
PAWS = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
Host: 127.0.0.1:9103
Accept-Encoding: deflate, gzip, br, zstd
User-Agent: paws/0.8.10 (R4.2.2; linux-gnu; x86_64)
Accept: application/json
Content-Length: 7
X-Amz-Date: 20261120T194317Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=accept;content-length;content-type;host;x-amz-date, Signature=e99ffb482e8265e378e4c4d4a4a5d09bd20ccdc3d82b12c98e7541411129b4d1
Content-Type: application/json
""",
    '{"a":1}',
)
PAWS_WITHOUT_PAYLOAD = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
Host: 127.0.0.1:9103
Accept: */*
Accept-Encoding: deflate, gzip, br, zstd
User-Agent: paws/0.8.10 (R4.2.2; linux-gnu; x86_64)
X-Amz-Date: 20261120T194317Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=d38fee1bcfb9ce192faf9cc4c83a3b5d86472e8faba10010de7de3a9475fa82a
Content-Length: 0
"""
)
RUSOTO = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=content-type;host;x-amz-client-context;x-amz-content-sha256;x-amz-date;x-amz-invocation-type;x-amz-log-type, Signature=16738132f0a23f99f13973ed8aa4a91fcbabfb082740a9cb64dfbacbd4c26d91
content-length: 2
content-type: application/x-amz-json-1.1
host: 127.0.0.1:9106
x-amz-client-context: eyJjdXN0b20iOnt9fQ==
x-amz-content-sha256: 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
x-amz-date: 20261120T194601Z
x-amz-invocation-type: RequestResponse
x-amz-log-type: Tail
user-agent: rusoto/0.48.0 rust/1.95.0 linux
""",
    "{}",
)
JAVASCRIPT = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
content-type: application/octet-stream
content-length: 7
x-amz-user-agent: aws-sdk-js/3.1161.0
user-agent: aws-sdk-js/3.1161.0 ua/2.1 os/linux#6.18.44-fc-v669 lang/js md/nodejs#20.20.2 api/lambda#3.1161.0 m/N,E,g
host: 127.0.0.1:9104
amz-sdk-invocation-id: 900ffd79-40c3-446f-a5e3-bffd919ba880
amz-sdk-request: attempt=1; max=3
x-amz-date: 20261120T194227Z
x-amz-content-sha256: 015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-user-agent, Signature=9798c9ea3af7269418c20daffc5dcc21e091c643745dda63a946d0f516e8e6c2
Connection: keep-alive
""",
    '{"a":1}',
)
AMAZONKA = _golden(
    """
POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ahello%3Aprod/invocations?Qualifier=%24LATEST HTTP/1.1
Host: 127.0.0.1:9109
Accept-Encoding: gzip
Content-Length: 7
X-Amz-Content-SHA256: 015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862
X-Amz-Date: 20261120T194317Z
X-Amz-Invocation-Type: RequestResponse
X-Amz-Log-Type: Tail
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-invocation-type;x-amz-log-type, Signature=27a9766d2526534d770a7e19c1fc5d5d6e508fedbaf9b347e6dd56d8bae7385e
""",
    '{"a":1}',
)
RUST = _golden(
    """
POST /2015-03-31/functions/hello/invocations HTTP/1.1
x-amz-invocation-type: RequestResponse
content-type: application/octet-stream
content-length: 7
user-agent: aws-sdk-rust/1.3.10 os/linux lang/rust/1.95.0
x-amz-user-agent: aws-sdk-rust/1.3.10 ua/2.1 api/lambda/1.100.0 os/linux lang/rust/1.95.0
x-amz-date: 20261120T194317Z
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261120/us-east-1/lambda/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-invocation-type;x-amz-user-agent, Signature=1091abf76bb9cb9e73b40c0ff4770c9557679c7863304ec80f3fcd8f47d394e6
amz-sdk-request: attempt=1; max=3
amz-sdk-invocation-id: 3f2b1c9e-5a0e-4c55-9b1e-0d6a0c3e7f11
host: 127.0.0.1:9108
""",
    '{"a":1}',
)
# The same of its first release, which did not encode the path again.
AMAZONKA_ONCE_ENCODED = AMAZONKA.replace(
    b"27a9766d2526534d770a7e19c1fc5d5d6e508fedbaf9b347e6dd56d8bae7385e",
    b"81682b73b2e99e364e416a67040bd3a5bbf63dba1f27b7d3efbd7da74716459b",
)
