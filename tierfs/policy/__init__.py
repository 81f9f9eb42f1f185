"""Decisions: pure functions of values. No I/O, no clock (`now` is an argument), no state that tasks share."""
