"""Where files lie and what that costs: moves between classes, the way back from archives, the price table.

Promises: moves stay within their budgets, wait for nobody who reads, and stop by rule where they fail; what was asked
back from an archive is known over a restart, and reaches whoever waits for it, with its bytes or with a reason.

Decisions are those of `policy`; what has to outlive the daemon is in the index. Shared between tasks: the tables in
memory of `Mover` and `Restorer`, in sync code. Checkpoints: where budgets are waited for, and the requests.
"""
