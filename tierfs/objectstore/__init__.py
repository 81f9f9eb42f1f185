"""Object stores: a bucket, and a prefix in it, behind one interface (`base`).

It promises:

- One contract for every implementation: `tests/conformance/test_objectstore.py` runs over all of them.
  Callers see keys below the prefix, `ObjectInfo` and `StoreError`, never a client library's types.
- A write is atomic, and conditional wherever the caller says so. What a server cannot condition on
  leaves a window of one round trip; the implementation's docstring names it.
- A body is of one version and of the length that was asked for, or it is an error.
- Nothing is repeated behind a caller's back but by `retrying`, within a budget, and only what the
  interface calls repeatable; a write whose answer was lost is looked for by its op id.
- Requests, threads and memory are bounded by settings. Secrets stay in the client libraries.

`opening` turns a URL into a store; `retrying` wraps it; `probe` finds out at mount what the server does.
`s3*` is S3 by obstore and boto3, `directory*` a local directory.

Tasks share a store freely. All methods are trio-async and every await in them is a checkpoint; requests
and system calls run in worker threads with a limiter. A cancelled read ends at once and leaves its
thread to finish; a cancelled write is waited for, and its effect on the bucket is unclear.
"""
