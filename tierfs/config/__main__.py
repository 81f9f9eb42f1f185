"""Prints the example file: `python -m tierfs.config > deploy/tierfs.example.toml`."""

from tierfs.config import example_toml

if __name__ == "__main__":
    print(example_toml(), end="")
