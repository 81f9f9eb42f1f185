"""Where files lie and what that costs: the price table, and what was spent by it.

Decisions are those of `policy`; what has to outlive the daemon is in the index.
"""
