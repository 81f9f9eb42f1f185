"""GB/s (10^9 bytes) of every kernel, C and Python, beside zlib, the xxhash package and two passes.

    python tests/bench/native_kernels.py [--json] [--directory DIR]

C is measured on 128 MiB, more than any L3 here, and on 128 KiB, which stays in L2; Python on the latter
only. The best of several rounds counts: on a shared machine the fastest was disturbed least. Files
are in the page cache of DIR (default: the temporary directory): it is the copy that is measured, not the
disk. The preads return new bytes: at 128 MiB the kernel's zeroing of fresh pages is most of their time.
"x + y" is what a copying kernel replaces: the plain copy, then the checksum in a second pass.
"""

import argparse
import json
import os
import tempfile
import time
import timeit
import zlib
from collections.abc import Callable
from typing import Final

import xxhash

from tierfs.native import Kernels, PythonKernels, choose, load_native
from tierfs.units import KIB, MIB

LARGE_BYTES: Final = 128 * MIB
CACHED_BYTES: Final = 128 * KIB
KEY_BYTES: Final = 64
CALLS: Final = 100_000
ROUND_S: Final = 0.1
ROUNDS: Final = 5


def gb_per_s(function: Callable[[], object], size_bytes: int) -> float:
    """Repeats the call for a fixed time a round; the best round counts."""
    function()
    best = 0.0
    for _ in range(ROUNDS):
        calls = 0
        begin = now = time.perf_counter()
        while now - begin < ROUND_S:
            function()
            calls += 1
            now = time.perf_counter()
        best = max(best, calls * size_bytes / (now - begin) / 1e9)
    return best


def of_memory(kernels: Kernels, data: bytes) -> dict[str, float]:
    target = bytearray(len(data))
    return {
        "crc64nvme": gb_per_s(lambda: kernels.crc64nvme(data), len(data)),
        "crc32c": gb_per_s(lambda: kernels.crc32c(data), len(data)),
        "xxh3_64": gb_per_s(lambda: kernels.xxh3_64(data), len(data)),
        "copy_crc64nvme": gb_per_s(lambda: kernels.copy_crc64nvme(target, data), len(data)),
    }


def of_files(kernels: Kernels, data: bytes, directory: str) -> dict[str, float]:
    with tempfile.TemporaryFile(dir=directory) as one, tempfile.TemporaryFile(dir=directory) as other:
        source, target, size = one.fileno(), other.fileno(), len(data)
        os.pwrite(source, data, 0)
        return {
            "pwrite_crc64nvme": gb_per_s(lambda: kernels.pwrite_crc64nvme(target, data, 0), size),
            "pread_crc64nvme": gb_per_s(lambda: kernels.pread_crc64nvme(source, size, 0), size),
            "copy_range_crc64nvme": gb_per_s(lambda: kernels.copy_range_crc64nvme(source, 0, target, 0, size), size),
        }


def of_others(kernels: Kernels, data: bytes, directory: str) -> dict[str, float]:
    target, size = memoryview(bytearray(len(data))), len(data)

    def copy() -> None:
        target[:] = data

    def copy_and_sum() -> None:
        target[:] = data
        kernels.crc64nvme(target)

    with tempfile.TemporaryFile(dir=directory) as file:
        fd = file.fileno()

        def write_and_sum() -> None:
            kernels.crc64nvme(data)
            os.pwrite(fd, data, 0)

        return {
            "zlib.crc32": gb_per_s(lambda: zlib.crc32(data), size),
            "xxhash.xxh3_64": gb_per_s(lambda: xxhash.xxh3_64_intdigest(data), size),
            "memoryview copy": gb_per_s(copy, size),
            "memoryview copy + crc": gb_per_s(copy_and_sum, size),
            "os.pwrite": gb_per_s(lambda: os.pwrite(fd, data, 0), size),
            "os.pwrite + crc": gb_per_s(write_and_sum, size),
            "os.pread": gb_per_s(lambda: os.pread(fd, size, 0), size),
            "os.pread + crc": gb_per_s(lambda: kernels.crc64nvme(os.pread(fd, size, 0)), size),
        }


def calls_ns(kernels: Kernels) -> dict[str, float]:
    """Nanoseconds a call on a short key, the cost of going from Python to C and back included."""
    key = os.urandom(KEY_BYTES)
    functions = {
        "crc64nvme": kernels.crc64nvme,
        "crc32c": kernels.crc32c,
        "xxh3_64": kernels.xxh3_64,
        "xxhash.xxh3_64": xxhash.xxh3_64_intdigest,
        "zlib.crc32": zlib.crc32,
    }
    return {
        name: min(timeit.repeat("f(key)", globals={"f": f, "key": key}, number=CALLS, repeat=ROUNDS)) / CALLS * 1e9
        for name, f in functions.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--directory", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    kernels, why_not = choose({}, load_native)
    if why_not:
        raise SystemExit(f"no C functions to measure: {why_not}")
    large = os.urandom(LARGE_BYTES)
    cached = large[:CACHED_BYTES]
    twins, directory = PythonKernels(), arguments.directory
    columns = {
        "large": of_memory(kernels, large) | of_files(kernels, large, directory) | of_others(kernels, large, directory),
        "cached": of_memory(kernels, cached)
        | of_files(kernels, cached, directory)
        | of_others(kernels, cached, directory),
        "python": of_memory(twins, cached) | of_files(twins, cached, directory),
    }
    calls = calls_ns(kernels)
    if arguments.json:
        print(json.dumps({"variants": kernels.variants(), "gb_per_s": columns, "calls_ns": calls}))
        return
    print("variants:", *(f"{name}={variant}" for name, variant in kernels.variants().items()))
    print(f"{'GB/s':<22}{'C, 128 MiB':>12}{'C, 128 KiB':>12}{'Python':>10}")
    for name, speed in columns["large"].items():
        python = f"{columns['python'][name]:>10.4f}" if name in columns["python"] else ""
        print(f"{name:<22}{speed:>12.2f}{columns['cached'][name]:>12.2f}{python}")
    print(f"{KEY_BYTES} bytes, ns a call:", *(f"{name} {ns:.0f}" for name, ns in calls.items()))


if __name__ == "__main__":
    main()
