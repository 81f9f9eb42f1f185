"""Package docstring pending its first module."""
