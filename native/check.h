/* What the drivers of the pure parts share: check.c and check_holder.c. */
#ifndef TIERFS_CHECK_H
#define TIERFS_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition, ...)                                                     \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);         \
            fprintf(stderr, __VA_ARGS__);                                           \
            fputc('\n', stderr);                                                    \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

/* splitmix64: the same sequence in every run, from the seed that main() prints */
static uint64_t random_state;

static uint64_t random_uint64(void)
{
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static size_t random_below(size_t limit)
{
    return (size_t)(random_uint64() % limit);
}

static uint8_t *random_bytes(size_t size_bytes)
{
    uint8_t *bytes = malloc(size_bytes ? size_bytes : 1);
    REQUIRE(bytes != NULL, "out of memory");
    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (uint8_t)random_uint64();
    return bytes;
}

#endif
