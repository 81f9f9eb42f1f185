"""The front towards the kernel: translates FUSE requests into verbs of `tierfs.filesystem` and back.

Promises: every request gets exactly one answer; whatever a verb raises becomes an errno, and only what
an operator must know of is logged. No decision is taken here. Notifications to the kernel leave through
a thread and a queue of their own, never from a request (an invalidation that waits for the lock of a
directory whose CREATE waits for us would hang the mount).
"""
