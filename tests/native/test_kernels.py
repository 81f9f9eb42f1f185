"""Every kernel, in C and in Python, against known answers, each other's definition and real files."""

import array
import errno
import os
import resource
import threading
import time
from collections.abc import Iterator
from mmap import mmap
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tierfs import native
from tierfs.native import CHUNK_BYTES, Kernels, PythonKernels, choose, load_native
from tierfs.units import MIB

OFFSET_MAX = (1 << 63) - 1
# longer than a chunk by an odd amount, and no repetition that could hide a chunk in the wrong place
LONG = b"".join(n.to_bytes(4, "little") for n in range((CHUNK_BYTES + 4100) // 4)) + b"odd"


@pytest.fixture(scope="module", params=["c", "python"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load_native() if request.param == "c" else PythonKernels()


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.fixture
def other_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


class TestChecksums:
    def test_crc64nvme_gives_the_catalogue_s_check_value(self, kernels: Kernels) -> None:
        assert kernels.crc64nvme(b"123456789") == 0xAE8B14860A799888

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"123456789", 0xE3069283),
            (bytes(32), 0x8A9136AA),  # this and the following: RFC 3720, B.4
            (b"\xff" * 32, 0x62A8AB43),
            (bytes(range(32)), 0x46DD794E),
            (bytes(reversed(range(32))), 0x113FDB5C),
        ],
    )
    def test_crc32c_gives_the_known_answers(self, kernels: Kernels, data: bytes, expected: int) -> None:
        assert kernels.crc32c(data) == expected

    def test_xxh3_gives_the_known_answer_for_nothing(self, kernels: Kernels) -> None:
        assert kernels.xxh3_64(b"") == 0x2D06800538D394C2

    def test_nothing_changes_no_crc(self, kernels: Kernels) -> None:
        assert kernels.crc64nvme(b"") == kernels.crc32c(b"") == 0
        assert kernels.crc64nvme(b"", 17) == kernels.crc32c(b"", 17) == 17

    # around each limit between two methods: 16, 128 and 240 bytes, blocks of 1 KiB
    @pytest.mark.parametrize("length", [*range(260), 1023, 1024, 1025, 2048, 2049, len(LONG)])
    def test_xxh3_agrees_with_the_xxhash_package(self, kernels: Kernels, length: int) -> None:
        assert kernels.xxh3_64(LONG[:length]) == xxhash.xxh3_64_intdigest(LONG[:length])

    @given(parts=st.lists(st.binary(max_size=700), max_size=6))
    def test_chunks_give_the_crc_of_the_whole(self, kernels: Kernels, parts: list[bytes]) -> None:
        crc64, crc32 = 0, 0
        for part in parts:
            crc64, crc32 = kernels.crc64nvme(part, crc64), kernels.crc32c(part, crc32)
        assert crc64 == kernels.crc64nvme(b"".join(parts))
        assert crc32 == kernels.crc32c(b"".join(parts))

    @given(first=st.binary(max_size=700), second=st.binary(max_size=700))
    def test_combine_gives_the_crc_of_the_whole(self, kernels: Kernels, first: bytes, second: bytes) -> None:
        for crc, combine in (
            (kernels.crc64nvme, kernels.crc64nvme_combine),
            (kernels.crc32c, kernels.crc32c_combine),
        ):
            assert combine(crc(first), crc(second), len(second)) == crc(first + second)

    @given(data=st.binary(max_size=3000), skip=st.integers(0, 40), previous=st.integers(0, (1 << 32) - 1))
    def test_c_and_python_agree(self, data: bytes, skip: int, previous: int) -> None:
        c, python, view = load_native(), PythonKernels(), memoryview(data)[skip:]
        assert c.crc64nvme(view, previous << 32) == python.crc64nvme(view, previous << 32)
        assert c.crc32c(view, previous) == python.crc32c(view, previous)
        assert c.xxh3_64(view) == python.xxh3_64(view)

    @given(crc_a=st.integers(0, (1 << 64) - 1), crc_b=st.integers(0, (1 << 64) - 1), length=st.integers(0, OFFSET_MAX))
    def test_c_and_python_combine_any_length_alike(self, crc_a: int, crc_b: int, length: int) -> None:
        c, python = load_native(), PythonKernels()
        assert c.crc64nvme_combine(crc_a, crc_b, length) == python.crc64nvme_combine(crc_a, crc_b, length)
        a, b = crc_a >> 32, crc_b >> 32
        assert c.crc32c_combine(a, b, length) == python.crc32c_combine(a, b, length)

    def test_any_contiguous_buffer_will_do(self, kernels: Kernels) -> None:
        numbers = array.array("I", range(100))
        data = numbers.tobytes()
        with mmap(-1, len(data)) as mapping:
            mapping[:] = data
            for buffer in (bytearray(data), memoryview(data), memoryview(numbers), memoryview(data).cast("b"), mapping):
                assert kernels.crc64nvme(buffer) == kernels.crc64nvme(data)
                assert kernels.crc32c(buffer) == kernels.crc32c(data)
                assert kernels.xxh3_64(buffer) == kernels.xxh3_64(data)

    def test_a_buffer_with_gaps_is_refused(self, kernels: Kernels) -> None:
        for function in (kernels.crc64nvme, kernels.crc32c, kernels.xxh3_64):
            with pytest.raises(BufferError):
                function(memoryview(b"abcdef")[::2])

    def test_what_is_no_buffer_is_refused(self, kernels: Kernels) -> None:
        for function in (kernels.crc64nvme, kernels.crc32c, kernels.xxh3_64):
            with pytest.raises(TypeError):
                function("text")  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", [-1, 1 << 64, 1 << 200])
    def test_a_checksum_beyond_its_width_is_refused(self, kernels: Kernels, wrong: int) -> None:
        with pytest.raises(ValueError, match="previous"):
            kernels.crc64nvme(b"", wrong)
        with pytest.raises(ValueError, match="previous"):
            kernels.copy_crc64nvme(bytearray(), b"", wrong)
        with pytest.raises(ValueError, match="crc_a"):
            kernels.crc64nvme_combine(wrong, 0, 0)
        with pytest.raises(ValueError, match="crc_b"):
            kernels.crc64nvme_combine(0, wrong, 0)
        with pytest.raises(ValueError, match="len_b"):
            kernels.crc64nvme_combine(0, 0, wrong)

    @pytest.mark.parametrize("wrong", [-1, 1 << 32])
    def test_a_crc32c_beyond_its_width_is_refused(self, kernels: Kernels, wrong: int) -> None:
        with pytest.raises(ValueError, match="previous"):
            kernels.crc32c(b"", wrong)
        with pytest.raises(ValueError, match="crc_a"):
            kernels.crc32c_combine(wrong, 0, 0)
        with pytest.raises(ValueError, match="crc_b"):
            kernels.crc32c_combine(0, wrong, 0)

    def test_a_fraction_is_no_number_of_bytes(self, kernels: Kernels) -> None:
        with pytest.raises(TypeError):
            kernels.crc64nvme(b"", 1.0)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            kernels.crc64nvme_combine(0, 0, 1.0)  # type: ignore[arg-type]

    def test_the_number_of_arguments_is_checked(self, kernels: Kernels) -> None:
        with pytest.raises(TypeError):
            kernels.crc64nvme()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            kernels.crc64nvme(b"", 0, 0)  # type: ignore[call-arg]


class TestMemoryCopy:
    @pytest.mark.parametrize("length", [0, 1, 15, 16 * 1024, 16 * 1024 + 1, len(LONG)])
    def test_the_copy_and_its_checksum_are_those_of_the_source(self, kernels: Kernels, length: int) -> None:
        source = LONG[:length]
        target = bytearray(b"!" * (length + 5))
        assert kernels.copy_crc64nvme(target, source, 99) == kernels.crc64nvme(source, 99)
        assert target == source + b"!!!!!"

    @pytest.mark.parametrize(("to", "start"), [(0, 3), (3, 0), (7, 7)])
    def test_source_and_target_may_overlap(self, kernels: Kernels, to: int, start: int) -> None:
        block = bytearray(LONG)
        length = len(LONG) - 7
        expected = bytes(LONG[start : start + length])
        view = memoryview(block)
        assert kernels.copy_crc64nvme(view[to:], view[start : start + length]) == kernels.crc64nvme(expected)
        assert block[to : to + length] == expected

    def test_a_target_that_is_too_small_stays_as_it_is(self, kernels: Kernels) -> None:
        target = bytearray(b"1234")
        with pytest.raises(ValueError, match="5 bytes do not fit in a destination of 4"):
            kernels.copy_crc64nvme(target, b"abcde")
        assert target == b"1234"

    def test_a_target_that_cannot_be_written_is_refused(self, kernels: Kernels) -> None:
        with pytest.raises(BufferError):
            kernels.copy_crc64nvme(b"1234", b"ab")  # type: ignore[arg-type]
        with pytest.raises(BufferError):
            kernels.copy_crc64nvme(memoryview(bytearray(8))[::2], b"ab")

    def test_the_buffers_are_free_again_afterwards(self, kernels: Kernels) -> None:
        source, target = bytearray(b"ab"), bytearray(b"1234")
        kernels.copy_crc64nvme(target, source)
        with pytest.raises(ValueError, match="do not fit"):
            kernels.copy_crc64nvme(source, target)
        source.append(1)
        target.append(1)  # BufferError if a view were still held


class TestFileCopies:
    @pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES, len(LONG)])
    def test_what_was_written_is_read_back(self, kernels: Kernels, fd: int, length: int) -> None:
        data = LONG[:length]
        crc = kernels.crc64nvme(data)
        assert kernels.pwrite_crc64nvme(fd, data, 1234) == crc
        assert os.pread(fd, 2 * len(LONG), 0) == (bytes(1234) + data if data else b"")
        assert kernels.pread_crc64nvme(fd, length, 1234) == (data, crc)

    def test_a_read_is_short_only_at_the_end(self, kernels: Kernels, fd: int) -> None:
        os.pwrite(fd, LONG, 0)
        data, crc = kernels.pread_crc64nvme(fd, 10 * len(LONG), 5)
        assert data == LONG[5:]
        assert crc == kernels.crc64nvme(data)
        assert kernels.pread_crc64nvme(fd, 10, len(LONG)) == (b"", 0)
        assert kernels.pread_crc64nvme(fd, 10, OFFSET_MAX - 10) == (b"", 0)

    @pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES + 1, len(LONG), 5 * len(LONG)])
    def test_a_range_is_copied_between_files(self, kernels: Kernels, fd: int, other_fd: int, length: int) -> None:
        os.pwrite(fd, LONG, 100)
        expected = LONG[:length]
        result = kernels.copy_range_crc64nvme(fd, 100, other_fd, 3, length)
        assert result == (len(expected), kernels.crc64nvme(expected))
        assert os.pread(other_fd, 10 * len(LONG), 0) == (bytes(3) + expected if expected else b"")

    def test_file_positions_do_not_move(self, kernels: Kernels, fd: int, other_fd: int) -> None:
        os.lseek(fd, 11, os.SEEK_SET)
        kernels.pwrite_crc64nvme(fd, b"abc", 0)
        kernels.pread_crc64nvme(fd, 3, 0)
        kernels.copy_range_crc64nvme(fd, 0, other_fd, 0, 3)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 11
        assert os.lseek(other_fd, 0, os.SEEK_CUR) == 0

    def test_a_copy_within_a_file_needs_ranges_apart(self, kernels: Kernels, fd: int, tmp_path: Path) -> None:
        os.pwrite(fd, b"0123456789", 0)
        again = os.open(tmp_path / "file", os.O_RDWR)
        try:
            for to in (5, 0):
                with pytest.raises(OSError) as caught:
                    kernels.copy_range_crc64nvme(fd, 2, again, to, 4)
                assert caught.value.errno == errno.EINVAL
            assert kernels.copy_range_crc64nvme(fd, 0, again, 5, 5)[0] == 5
        finally:
            os.close(again)
        assert os.pread(fd, 100, 0) == b"0123401234"

    @pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 70])
    def test_an_offset_out_of_range_is_refused(self, kernels: Kernels, fd: int, offset: int) -> None:
        with pytest.raises(ValueError, match="offset"):
            kernels.pwrite_crc64nvme(fd, b"a", offset)
        with pytest.raises(ValueError, match="offset"):
            kernels.pread_crc64nvme(fd, 1, offset)
        with pytest.raises(ValueError, match="length"):
            kernels.pread_crc64nvme(fd, offset, 1)
        with pytest.raises(ValueError, match="off_in"):
            kernels.copy_range_crc64nvme(fd, offset, fd, 0, 1)
        with pytest.raises(ValueError, match="off_out"):
            kernels.copy_range_crc64nvme(fd, 0, fd, offset, 1)
        with pytest.raises(ValueError, match="length"):
            kernels.copy_range_crc64nvme(fd, 0, fd, 0, offset)

    def test_a_range_that_ends_too_far_is_refused(self, kernels: Kernels, fd: int) -> None:
        with pytest.raises(ValueError, match="plus the length"):
            kernels.pwrite_crc64nvme(fd, b"ab", OFFSET_MAX - 1)
        with pytest.raises(ValueError, match="plus the length"):
            kernels.pread_crc64nvme(fd, 2, OFFSET_MAX - 1)
        with pytest.raises(ValueError, match="off_in plus the length"):
            kernels.copy_range_crc64nvme(fd, OFFSET_MAX - 1, fd, 0, 2)
        with pytest.raises(ValueError, match="off_out plus the length"):
            kernels.copy_range_crc64nvme(fd, 0, fd, OFFSET_MAX - 1, 2)
        assert os.fstat(fd).st_size == 0

    def test_errors_carry_their_errno(self, kernels: Kernels, fd: int, tmp_path: Path) -> None:
        read_only = os.open(tmp_path / "file", os.O_RDONLY)
        pipe_out, pipe_in = os.pipe()
        try:
            for call, expected in (
                (lambda: kernels.pwrite_crc64nvme(read_only, b"a", 0), errno.EBADF),
                (lambda: kernels.pwrite_crc64nvme(-1, b"a", 0), errno.EBADF),
                (lambda: kernels.pread_crc64nvme(-1, 1, 0), errno.EBADF),
                (lambda: kernels.pwrite_crc64nvme(pipe_in, b"a", 0), errno.ESPIPE),
                (lambda: kernels.pread_crc64nvme(pipe_out, 1, 0), errno.ESPIPE),
                (lambda: kernels.copy_range_crc64nvme(pipe_out, 0, fd, 0, 1), errno.ESPIPE),
                (lambda: kernels.copy_range_crc64nvme(fd, 0, -1, 0, 1), errno.EBADF),
            ):
                with pytest.raises(OSError) as caught:
                    call()
                assert caught.value.errno == expected
        finally:
            for used in (read_only, pipe_out, pipe_in):
                os.close(used)

    def test_a_full_device_is_told(self, kernels: Kernels, fd: int) -> None:
        os.pwrite(fd, b"abc", 0)
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            with pytest.raises(OSError) as written:
                kernels.pwrite_crc64nvme(full, b"abc", 0)
            with pytest.raises(OSError) as copied:
                kernels.copy_range_crc64nvme(fd, 0, full, 0, 3)
        finally:
            os.close(full)
        assert written.value.errno == copied.value.errno == errno.ENOSPC

    def test_a_write_that_stops_half_way_is_an_error(self, kernels: Kernels, fd: int) -> None:
        # the kernel writes up to the limit, a short count, and refuses the rest; SIGXFSZ is ignored by Python
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = CHUNK_BYTES // 2 + 100
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OSError) as caught:
                kernels.pwrite_crc64nvme(fd, LONG, 0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.errno == errno.EFBIG
        assert os.pread(fd, len(LONG), 0) == LONG[:limit]


class TestGil:
    def test_other_threads_run_during_a_long_checksum(self) -> None:
        kernels = load_native()
        times: dict[str, float] = {}

        def checksum(data: mmap) -> None:
            times["begin"] = time.perf_counter()
            kernels.crc64nvme(data)
            times["end"] = time.perf_counter()

        # anonymous memory that nobody wrote to is one page of zeros: much to do, nothing to allocate
        with mmap(-1, 512 * MIB) as data:
            for _attempt in range(10):  # a busy machine may not let this thread run in that time
                times.clear()
                ticks: list[float] = []
                worker = threading.Thread(target=checksum, args=(data,))
                worker.start()
                while worker.is_alive():
                    ticks.append(time.perf_counter())
                worker.join()
                third = (times["end"] - times["begin"]) / 3
                if any(times["begin"] + third < tick < times["end"] - third for tick in ticks):
                    return
        pytest.fail("no other thread ran while a checksum was computed")


class TestChoice:
    def test_the_c_functions_are_in_use(self) -> None:
        kernels, why_not = choose({}, load_native)
        assert why_not == ""
        assert set(kernels.variants()) == set(PythonKernels.variants()) == {"crc64nvme", "crc32c", "xxh3_64"}

    def test_the_environment_forces_the_twins(self) -> None:
        kernels, why_not = choose({"TIERFS_NATIVE": "0"}, load_native)
        assert isinstance(kernels, PythonKernels)
        assert why_not == "TIERFS_NATIVE=0 is set in the environment"

    def test_a_missing_extension_is_told(self) -> None:
        def load() -> Kernels:
            raise ImportError("libfoo.so: cannot open shared object file")

        kernels, why_not = choose({}, load)
        assert isinstance(kernels, PythonKernels)
        assert why_not == "libfoo.so: cannot open shared object file"

    def test_an_extension_of_another_version_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import tierfs._native

        monkeypatch.setattr(tierfs._native, "ABI", 0)
        with pytest.raises(ImportError, match="has ABI 0, this tierfs needs 1"):
            load_native()

    def test_the_module_offers_every_kernel(self) -> None:
        for name in vars(PythonKernels):
            if not name.startswith("_"):
                assert getattr(native, name) == getattr(native.kernels, name)
        assert (native.why_not == "") is native.ACCELERATED
