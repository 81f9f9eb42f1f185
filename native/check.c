/*
 * Driver of the pure parts, run under ASan and UBSan by check.sh: known answers, every variant against
 * the scalar reference and that against a bitwise one, combine identities, and copies with short reads,
 * short writes and interruptions, which the linker's --wrap puts between copy.c and the kernel.
 * Every buffer is a malloc of its exact size, so that ASan sees one byte read too much.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "check_faults.h"
#include "checksum.h"
#include "copy.h"

/* ---- checksums ---- */

static uint64_t bitwise(uint64_t polynomial, uint64_t state, const uint8_t *data, size_t size_bytes)
{
    for (size_t i = 0; i < size_bytes; i++) {
        state ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            state = (state >> 1) ^ (state & 1 ? polynomial : 0);
    }
    return state;
}

static void check_known_answers(void)
{
    static const uint8_t zeros[32];
    REQUIRE(crc64nvme(0, "123456789", 9) == UINT64_C(0xAE8B14860A799888), "%" PRIx64, crc64nvme(0, "123456789", 9));
    REQUIRE(crc32c(0, "123456789", 9) == 0xE3069283u, "%" PRIx32, crc32c(0, "123456789", 9));
    REQUIRE(crc32c(0, zeros, 32) == 0x8A9136AAu, "RFC 3720 B.4: %" PRIx32, crc32c(0, zeros, 32));
    REQUIRE(crc64nvme(0, "", 0) == 0 && crc32c(0, "", 0) == 0, "of nothing");
}

/* One answer for each way through XXH3, made with the xxhash package of PyPI (xxHash 0.8). */
static void check_xxh3_answers(void)
{
    static const struct {
        size_t size_bytes;
        uint64_t hash;
    } answers[] = {
        {0, UINT64_C(0x2D06800538D394C2)},
        {1, UINT64_C(0xC44BDFF4074EECDB)},
        {3, UINT64_C(0x37892F624F40B19C)},
        {5, UINT64_C(0x4059737F905531B6)},
        {8, UINT64_C(0x98C961A085A126A8)},
        {12, UINT64_C(0x6697C9BE6F258972)},
        {16, UINT64_C(0x7811A63C955DB878)},
        {33, UINT64_C(0x47800873B760103E)},
        {128, UINT64_C(0x75F641DE129B9250)},
        {129, UINT64_C(0xC0874810AB91D5E5)},
        {240, UINT64_C(0x100873FE1BBC153A)},
        {241, UINT64_C(0x1EF3A6CB47FBAD2D)},
        {1024, UINT64_C(0x6811158F016AD5DC)},
        {1025, UINT64_C(0x17E75D922EE4C353)},
        {2500, UINT64_C(0xA2F3D9F298E13BC3)},
        {3000, UINT64_C(0xB9D59E7D8D96FEE8)},
    };
    uint8_t data[3000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * i + i / 7);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        uint64_t found = xxh3_64_with(&xxh3_64_variants[0], data, answers[i].size_bytes);
        REQUIRE(found == answers[i].hash, "%zu bytes: %" PRIx64, answers[i].size_bytes, found);
    }
}

/* One data, at one alignment, through every variant that this CPU has. */
static void check_crc_variants(const struct crc_variant *variants, uint64_t polynomial, uint64_t mask,
                               const uint8_t *data, size_t size_bytes)
{
    uint64_t start = random_uint64() & mask;
    uint64_t expected = variants[0].run(start, data, size_bytes);
    if (size_bytes < 600) {
        uint64_t slow = bitwise(polynomial, start, data, size_bytes);
        REQUIRE(expected == slow, "scalar differs from bitwise, %zu bytes", size_bytes);
    }
    for (const struct crc_variant *variant = variants + 1; variant->name; variant++)
        if (variant->supported()) {
            uint64_t found = variant->run(start, data, size_bytes);
            REQUIRE(found == expected, "%s, %zu bytes: %" PRIx64 " for %" PRIx64, variant->name, size_bytes, found,
                    expected);
        }
}

static void check_variants(size_t size_bytes, size_t misaligned_bytes)
{
    uint8_t *block = random_bytes(misaligned_bytes + size_bytes);
    const uint8_t *data = block + misaligned_bytes;
    check_crc_variants(crc64nvme_variants, UINT64_C(0x9A6C9329AC4BC9B5), UINT64_MAX, data, size_bytes);
    check_crc_variants(crc32c_variants, 0x82F63B78u, UINT32_MAX, data, size_bytes);
    uint64_t expected = xxh3_64_with(&xxh3_64_variants[0], data, size_bytes);
    for (const struct xxh3_variant *variant = xxh3_64_variants + 1; variant->name; variant++)
        if (variant->supported()) {
            uint64_t found = xxh3_64_with(variant, data, size_bytes);
            REQUIRE(found == expected, "%s, %zu bytes: %" PRIx64 " for %" PRIx64, variant->name, size_bytes, found,
                    expected);
        }
    free(block);
}

static void check_combine(size_t size_bytes)
{
    uint8_t *data = random_bytes(size_bytes);
    size_t cut = random_below(size_bytes + 1);
    const uint8_t *tail = data + cut;
    size_t tail_bytes = size_bytes - cut;
    uint64_t whole64 = crc64nvme(0, data, size_bytes);
    uint32_t whole32 = crc32c(0, data, size_bytes);
    uint64_t head64 = crc64nvme(0, data, cut);
    uint32_t head32 = crc32c(0, data, cut);
    REQUIRE(crc64nvme(head64, tail, tail_bytes) == whole64, "continued at %zu of %zu", cut, size_bytes);
    REQUIRE(crc32c(head32, tail, tail_bytes) == whole32, "continued at %zu of %zu", cut, size_bytes);
    REQUIRE(crc64nvme_combine(head64, crc64nvme(0, tail, tail_bytes), tail_bytes) == whole64, "cut at %zu", cut);
    REQUIRE(crc32c_combine(head32, crc32c(0, tail, tail_bytes), tail_bytes) == whole32, "cut at %zu", cut);
    free(data);

    /* a + (b + c) == (a + b) + c, for lengths that no buffer has */
    uint64_t a = random_uint64(), b = random_uint64(), c = random_uint64();
    uint64_t size_b_bytes = random_uint64() >> 2, size_c_bytes = random_uint64() >> 2;
    REQUIRE(crc64nvme_combine(a, crc64nvme_combine(b, c, size_c_bytes), size_b_bytes + size_c_bytes) ==
                crc64nvme_combine(crc64nvme_combine(a, b, size_b_bytes), c, size_c_bytes),
            "lengths %" PRIu64 " and %" PRIu64, size_b_bytes, size_c_bytes);
    uint32_t a32 = (uint32_t)a, b32 = (uint32_t)b, c32 = (uint32_t)c;
    REQUIRE(crc32c_combine(a32, crc32c_combine(b32, c32, size_c_bytes), size_b_bytes + size_c_bytes) ==
                crc32c_combine(crc32c_combine(a32, b32, size_b_bytes), c32, size_c_bytes),
            "lengths %" PRIu64 " and %" PRIu64, size_b_bytes, size_c_bytes);
}

/* ---- copies ---- */

static void check_memory_copy(size_t size_bytes)
{
    uint8_t *source = random_bytes(size_bytes);
    uint8_t *target = random_bytes(size_bytes + 3);
    uint64_t start = random_uint64(), expected = crc64nvme(start, source, size_bytes);
    REQUIRE(copy_memory(target + 3, source, size_bytes, start) == expected, "%zu bytes", size_bytes);
    REQUIRE(memcmp(target + 3, source, size_bytes) == 0, "%zu bytes", size_bytes);
    /* overlapping, in both directions */
    REQUIRE(copy_memory(target, target + 3, size_bytes, start) == expected, "down, %zu bytes", size_bytes);
    REQUIRE(copy_memory(target + 1, target, size_bytes, start) == expected, "up, %zu bytes", size_bytes);
    free(source);
    free(target);
}

/* A write, a copy and a read back of the same bytes at odd offsets, with every kind of fault on the way. */
static void check_file_copies(size_t size_bytes)
{
    uint8_t *source = random_bytes(size_bytes);
    uint8_t *back = random_bytes(size_bytes + 10);
    uint64_t expected = crc64nvme(0, source, size_bytes);
    int first = temporary_file(), second = temporary_file();
    struct copy_progress to = {0}, between = {0}, from = {0};
    int error;
    fault.on = true;
    while ((error = copy_to_file(first, source, size_bytes, 13, &to)) == EINTR)
        ;
    REQUIRE(error == 0 && to.done == size_bytes && to.crc == expected, "write of %zu: %d", size_bytes, error);
    while ((error = copy_file_to_file(first, 13, second, 7, size_bytes + 1, &between)) == EINTR)
        ;
    REQUIRE(error == 0 && between.done == size_bytes && between.crc == expected, "copy of %zu: %d", size_bytes, error);
    while ((error = copy_from_file(second, back, size_bytes + 10, 7, &from)) == EINTR)
        ;
    fault.on = false;
    REQUIRE(error == 0 && from.done == size_bytes && from.crc == expected, "read of %zu: %d", size_bytes, error);
    REQUIRE(memcmp(back, source, size_bytes) == 0, "%zu bytes", size_bytes);
    close(first);
    close(second);
    free(source);
    free(back);
}

static void check_copy_errors(void)
{
    size_t size_bytes = 3 * (size_t)COPY_CHUNK_BYTES;
    uint8_t *data = random_bytes(size_bytes);
    int fd = temporary_file(), other = temporary_file();
    struct copy_progress full = {0}, overlap = {0}, apart = {0}, closed = {0};
    fault.writes_before_full = 1;
    REQUIRE(copy_to_file(fd, data, size_bytes, 0, &full) == ENOSPC, "a full disk");
    REQUIRE(full.done == COPY_CHUNK_BYTES, "%" PRIu64, full.done);
    fault.writes_before_full = -1;
    REQUIRE(copy_to_file(fd, data, size_bytes, 0, &full) == 0, "room again");
    REQUIRE(full.done == size_bytes && full.crc == crc64nvme(0, data, size_bytes), "%" PRIu64, full.done);
    REQUIRE(copy_file_to_file(fd, 0, fd, 99, 100, &overlap) == EINVAL, "overlap");
    REQUIRE(copy_file_to_file(fd, 0, fd, 100, 100, &apart) == 0 && apart.done == 100, "beside each other");
    fault.writes_before_full = 0;
    apart.done = 0;
    REQUIRE(copy_file_to_file(fd, 0, other, 0, size_bytes, &apart) == ENOSPC, "a full disk");
    fault.writes_before_full = -1;
    close(fd);
    close(other);
    REQUIRE(copy_from_file(fd, data, 1, 0, &closed) == EBADF, "a closed descriptor");
    REQUIRE(copy_to_file(fd, data, 1, 0, &closed) == EBADF, "a closed descriptor");
    REQUIRE(copy_file_to_file(fd, 0, fd, 10, 1, &closed) == EBADF, "a closed descriptor");
    free(data);
}

/* The variants that ran; what this CPU does not have was not checked, and the output says so. */
static void tell(const char *what, const char *name, bool supported)
{
    printf("  %s %s%s\n", what, name, supported ? "" : " (not on this CPU, not checked)");
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    printf("seed %" PRIu64 "\n", random_state);
    checksum_init();
    check_known_answers();
    check_xxh3_answers();
    for (size_t size_bytes = 0; size_bytes <= 1200; size_bytes++)
        check_variants(size_bytes, size_bytes % 33);
    for (int round = 0; round < 400; round++) {
        check_variants(random_below(20000), random_below(65));
        check_combine(random_below(5000));
    }
    static const size_t sizes[] = {0, 1, 5000, 16384, 16385, COPY_CHUNK_BYTES, COPY_CHUNK_BYTES + 1, 2700001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_memory_copy(sizes[i]);
        for (int round = 0; round < 4; round++)
            check_file_copies(sizes[i]);
    }
    REQUIRE(fault.interrupted > 10 && fault.shortened > 10, "the faults did not happen: is --wrap missing?");
    check_copy_errors();
    for (const struct crc_variant *variant = crc64nvme_variants; variant->name; variant++)
        tell("crc64nvme", variant->name, variant->supported());
    for (const struct crc_variant *variant = crc32c_variants; variant->name; variant++)
        tell("crc32c", variant->name, variant->supported());
    for (const struct xxh3_variant *variant = xxh3_64_variants; variant->name; variant++)
        tell("xxh3_64", variant->name, variant->supported());
    puts("all checks passed");
    return 0;
}
