/*
 * Checksums over memory: CRC-64/NVME, CRC-32C and XXH3-64.
 *
 * Each has a scalar reference and faster variants, all bit-identical; checksum_init() picks the last
 * one of its list that this CPU can run. Nothing here allocates, blocks or knows of Python, and after
 * checksum_init() every function may run in any thread.
 */
#ifndef TIERFS_CHECKSUM_H
#define TIERFS_CHECKSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fills the tables and chooses the variants. Call it once, before anything else here and before there
 * are threads that use it; calling it again changes nothing. */
void checksum_init(void);

/* The checksum of (what `previous` is the checksum of) followed by data; `previous` 0 starts. */
uint64_t crc64nvme(uint64_t previous, const void *data, size_t size_bytes);
uint32_t crc32c(uint32_t previous, const void *data, size_t size_bytes);

/* The checksum of a followed by b, from their checksums and the length of b. */
uint64_t crc64nvme_combine(uint64_t crc_a, uint64_t crc_b, uint64_t size_b_bytes);
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b_bytes);

/* XXH3 of 64 bits with seed 0 and the default secret. */
uint64_t xxh3_64(const void *data, size_t size_bytes);

/* What follows is for check.c and for diagnostics. */

/* One way to compute a CRC. `run` takes and returns the raw register (the complement of a checksum). */
struct crc_variant {
    const char *name;
    bool (*supported)(void);
    uint64_t (*run)(uint64_t state, const uint8_t *data, size_t size_bytes);
};

/* One way to do the inner loops of XXH3 over its eight accumulators. */
struct xxh3_variant {
    const char *name;
    bool (*supported)(void);
    /* adds `count` stripes of 64 bytes, keyed by `secret` and on, 8 bytes further with each stripe */
    void (*stripes)(uint64_t acc[8], const uint8_t *data, const uint8_t *secret, size_t count);
    /* adds `count` blocks of 1,024 bytes with the default secret, scrambling after each */
    void (*blocks)(uint64_t acc[8], const uint8_t *data, size_t count);
};

/* The scalar reference is first; a variant without a name ends the list. */
extern const struct crc_variant crc64nvme_variants[];
extern const struct crc_variant crc32c_variants[];
extern const struct xxh3_variant xxh3_64_variants[];

/* What checksum_init() chose. */
extern const struct crc_variant *crc64nvme_chosen;
extern const struct crc_variant *crc32c_chosen;
extern const struct xxh3_variant *xxh3_64_chosen;

uint64_t xxh3_64_with(const struct xxh3_variant *variant, const void *data, size_t size_bytes);

#endif
