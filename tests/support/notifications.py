"""Notifications as object stores write them."""

import json
from typing import Any
from urllib.parse import quote_plus

# the form of what MinIO servers posted in 2023, field by field; the names, ids and the key are ours
MINIO_PUT = """{
"EventName":"s3:ObjectCreated:Put","Key":"bucket/some dir/file+1.txt","Records":[{"eventVersion":"2.0",
"eventSource":"minio:s3","awsRegion":"","eventTime":"2024-01-18T12:00:00.123Z","eventName":"s3:ObjectCreated:Put",
"userIdentity":{"principalId":"minioadmin"},"requestParameters":{"principalId":"minioadmin","region":"",
"sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-id-2":"dd90","x-amz-request-id":"17AB8D5E7B8F5E4A",
"x-minio-deployment-id":"6faeded5","x-minio-origin-endpoint":"http://127.0.0.1:9000"},"s3":{"s3SchemaVersion":"1.0",
"configurationId":"Config","bucket":{"name":"bucket","ownerIdentity":{"principalId":"minioadmin"},
"arn":"arn:aws:s3:::bucket"},"object":{"key":"some+dir%2Ffile%2B1.txt","size":5,
"eTag":"5d41402abc4b2a76b9719d911017c592","contentType":"text/plain","userMetadata":{"content-type":"text/plain"},
"sequencer":"17AB8D5E7BCE0D2F"}},"source":{"host":"127.0.0.1","port":"","userAgent":"MinIO (linux; amd64)"}}]}"""


def record(name: str, bucket: str, key: str, *, etag: str = "", size: int = 0, time: Any = "", **more: Any) -> Any:
    """One record of S3's form; `more` goes to the object."""
    found = {"key": quote_plus(key, safe="/"), "size": size, "eTag": etag, **more}
    return {"eventName": name, "eventTime": time, "s3": {"bucket": {"name": bucket}, "object": found}}


def records(*found: Any) -> str:
    """The message that S3 sends."""
    return json.dumps({"Records": list(found)})


def eventbridge(name: str, bucket: str, key: str, *, time: Any = "", source: str = "aws.s3", **more: Any) -> str:
    """The message that EventBridge sends; `more` goes to the object."""
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, **more}, "reason": "PutObject"}
    return json.dumps({"version": "0", "detail-type": name, "source": source, "time": time, "detail": detail})


def in_sns(body: str) -> str:
    """The same, wrapped by SNS."""
    return json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:r:1:t", "Message": body})
