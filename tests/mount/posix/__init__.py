"""POSIX operations as functions of a directory: run in a native one and in a mount, they must give the same.

An operation gets an empty directory that all users may search and write, and returns what a program could see. It turns
the errors that it is about into their names with `attempt`; any other error is an error of the test.
"""
