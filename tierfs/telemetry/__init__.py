"""What tierfs tells of itself: log lines with stable event codes, counters, and how long things take.

`logs` and `counters` may be used from any thread; `meters` and `oplog` belong to the event loop's thread, where every
operation is counted, and take no lock. No checkpoints, but where `oplog` waits for operations.
"""
