/* XXH3-64 of checksum.h, after doc/xxhash_spec.md of the xxHash project. */
#include "checksum.h"

#include "load.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static bool always(void)
{
    return true;
}

enum { STRIPE_BYTES = 64, SECRET_BYTES = 192, SECRET_STEP_BYTES = 8 };
enum { STRIPES_A_BLOCK = (SECRET_BYTES - STRIPE_BYTES) / SECRET_STEP_BYTES };
enum { BLOCK_BYTES = STRIPES_A_BLOCK * STRIPE_BYTES };

#define PRIME32_1 0x9E3779B1u
#define PRIME32_2 0x85EBCA77u
#define PRIME32_3 0xC2B2AE3Du
#define PRIME64_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME64_3 UINT64_C(0x165667B19E3779F9)
#define PRIME64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME64_5 UINT64_C(0x27D4EB2F165667C5)
#define PRIME_MX1 UINT64_C(0x165667919E3779F9)
#define PRIME_MX2 UINT64_C(0x9FB21C651E98DF25)

/* The default secret of the specification. */
static const uint8_t secret[SECRET_BYTES] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};
static const uint8_t *const scramble_key = secret + SECRET_BYTES - STRIPE_BYTES;

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static uint64_t multiply_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t avalanche(uint64_t hash)
{
    hash ^= hash >> 37;
    hash *= PRIME_MX1;
    return hash ^ (hash >> 32);
}

static uint64_t avalanche_xxh64(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= PRIME64_2;
    hash ^= hash >> 29;
    hash *= PRIME64_3;
    return hash ^ (hash >> 32);
}

/* Two words of the data, each whitened by a word of the secret at `key`, multiplied. */
static uint64_t mix_16(const uint8_t *data, const uint8_t *key)
{
    return multiply_fold(load_le64(data) ^ load_le64(key), load_le64(data + 8) ^ load_le64(key + 8));
}

static uint64_t xxh3_up_to_16(const uint8_t *data, size_t size_bytes)
{
    if (size_bytes > 8) {
        uint64_t low = load_le64(data) ^ load_le64(secret + 24) ^ load_le64(secret + 32);
        uint64_t high = load_le64(data + size_bytes - 8) ^ load_le64(secret + 40) ^ load_le64(secret + 48);
        return avalanche(size_bytes + __builtin_bswap64(low) + high + multiply_fold(low, high));
    }
    if (size_bytes >= 4) {
        uint64_t word = load_le32(data + size_bytes - 4) | (uint64_t)load_le32(data) << 32;
        uint64_t hash = word ^ load_le64(secret + 8) ^ load_le64(secret + 16);
        hash ^= rotate_left(hash, 49) ^ rotate_left(hash, 24);
        hash *= PRIME_MX2;
        hash ^= (hash >> 35) + size_bytes;
        hash *= PRIME_MX2;
        return hash ^ (hash >> 28);
    }
    if (size_bytes > 0) {
        uint32_t word = (uint32_t)data[0] << 16 | (uint32_t)data[size_bytes >> 1] << 24 |
                        (uint32_t)size_bytes << 8 | data[size_bytes - 1];
        return avalanche_xxh64(word ^ load_le32(secret) ^ load_le32(secret + 4));
    }
    return avalanche_xxh64(load_le64(secret + 56) ^ load_le64(secret + 64));
}

static uint64_t xxh3_17_to_128(const uint8_t *data, size_t size_bytes)
{
    uint64_t hash = size_bytes * PRIME64_1;
    for (size_t i = 0; 32 * i < size_bytes; i++) {
        hash += mix_16(data + 16 * i, secret + 32 * i);
        hash += mix_16(data + size_bytes - 16 * (i + 1), secret + 32 * i + 16);
    }
    return avalanche(hash);
}

static uint64_t xxh3_129_to_240(const uint8_t *data, size_t size_bytes)
{
    uint64_t hash = size_bytes * PRIME64_1;
    for (size_t i = 0; i < 8; i++)
        hash += mix_16(data + 16 * i, secret + 16 * i);
    hash = avalanche(hash);
    for (size_t i = 8; i < size_bytes / 16; i++)
        hash += mix_16(data + 16 * i, secret + 16 * (i - 8) + 3);
    return avalanche(hash + mix_16(data + size_bytes - 16, secret + 136 - 17));
}

static uint64_t xxh3_long(const struct xxh3_variant *variant, const uint8_t *data, size_t size_bytes)
{
    uint64_t acc[8] = {
        PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1,
    };
    /* the last stripe is treated apart and overlaps, so a block is whole only when more follows */
    size_t blocks = (size_bytes - 1) / BLOCK_BYTES;
    size_t stripes = (size_bytes - 1) % BLOCK_BYTES / STRIPE_BYTES;
    variant->blocks(acc, data, blocks);
    variant->stripes(acc, data + blocks * BLOCK_BYTES, secret, stripes);
    variant->stripes(acc, data + size_bytes - STRIPE_BYTES, secret + SECRET_BYTES - STRIPE_BYTES - 7, 1);

    uint64_t hash = size_bytes * PRIME64_1;
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *key = secret + 11 + 16 * i;
        hash += multiply_fold(acc[2 * i] ^ load_le64(key), acc[2 * i + 1] ^ load_le64(key + 8));
    }
    return avalanche(hash);
}

static void stripes_scalar(uint64_t acc[8], const uint8_t *data, const uint8_t *key, size_t count)
{
    for (; count > 0; count--, data += STRIPE_BYTES, key += SECRET_STEP_BYTES)
        for (size_t i = 0; i < 8; i++) {
            uint64_t word = load_le64(data + 8 * i);
            uint64_t keyed = word ^ load_le64(key + 8 * i);
            acc[i ^ 1] += word;
            acc[i] += (keyed & 0xFFFFFFFF) * (keyed >> 32);
        }
}

static void blocks_scalar(uint64_t acc[8], const uint8_t *data, size_t count)
{
    for (; count > 0; count--, data += BLOCK_BYTES) {
        stripes_scalar(acc, data, secret, STRIPES_A_BLOCK);
        for (size_t i = 0; i < 8; i++)
            acc[i] = (acc[i] ^ (acc[i] >> 47) ^ load_le64(scramble_key + 8 * i)) * PRIME32_1;
    }
}

/*
 * The vector variants keep the accumulators in registers over all blocks: going through memory for a
 * scalar scramble, once per KiB, made AVX2 slower in cache (29 GB/s for 48 on Zen 3). So does GCC when it
 * unrolls all stripes of a block and runs out of registers (31 GB/s): two are enough.
 */

#if defined(__x86_64__)

#define TARGET_AVX2 __attribute__((target("avx2")))

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static inline __m128i load_sse2(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static inline void add_stripes_sse2(__m128i lane[4], const uint8_t *data, const uint8_t *key, size_t count)
{
#pragma GCC unroll 2
    for (; count > 0; count--, data += STRIPE_BYTES, key += SECRET_STEP_BYTES)
        for (int i = 0; i < 4; i++) {
            __m128i word = load_sse2(data + 16 * i);
            __m128i keyed = _mm_xor_si128(word, load_sse2(key + 16 * i));
            __m128i product = _mm_mul_epu32(keyed, _mm_srli_epi64(keyed, 32));
            __m128i swapped = _mm_shuffle_epi32(word, _MM_SHUFFLE(1, 0, 3, 2));
            lane[i] = _mm_add_epi64(lane[i], _mm_add_epi64(product, swapped));
        }
}

static void stripes_sse2(uint64_t acc[8], const uint8_t *data, const uint8_t *key, size_t count)
{
    __m128i lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = load_sse2(acc + 2 * i);
    add_stripes_sse2(lane, data, key, count);
    for (int i = 0; i < 4; i++)
        _mm_storeu_si128((__m128i *)(acc + 2 * i), lane[i]);
}

static void blocks_sse2(uint64_t acc[8], const uint8_t *data, size_t count)
{
    const __m128i prime = _mm_set1_epi64x(PRIME32_1);
    __m128i lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = load_sse2(acc + 2 * i);
    for (; count > 0; count--, data += BLOCK_BYTES) {
        add_stripes_sse2(lane, data, secret, STRIPES_A_BLOCK);
        for (int i = 0; i < 4; i++) {
            __m128i mixed = _mm_xor_si128(lane[i], _mm_srli_epi64(lane[i], 47));
            mixed = _mm_xor_si128(mixed, load_sse2(scramble_key + 16 * i));
            /* 64 times 32 bits, from two products of 32 times 32 */
            __m128i high = _mm_mul_epu32(_mm_srli_epi64(mixed, 32), prime);
            lane[i] = _mm_add_epi64(_mm_mul_epu32(mixed, prime), _mm_slli_epi64(high, 32));
        }
    }
    for (int i = 0; i < 4; i++)
        _mm_storeu_si128((__m128i *)(acc + 2 * i), lane[i]);
}

TARGET_AVX2 static inline __m256i load_avx2(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

TARGET_AVX2 static inline void add_stripes_avx2(__m256i lane[2], const uint8_t *data, const uint8_t *key, size_t count)
{
#pragma GCC unroll 2
    for (; count > 0; count--, data += STRIPE_BYTES, key += SECRET_STEP_BYTES)
        for (int i = 0; i < 2; i++) {
            __m256i word = load_avx2(data + 32 * i);
            __m256i keyed = _mm256_xor_si256(word, load_avx2(key + 32 * i));
            __m256i product = _mm256_mul_epu32(keyed, _mm256_srli_epi64(keyed, 32));
            __m256i swapped = _mm256_shuffle_epi32(word, _MM_SHUFFLE(1, 0, 3, 2));
            lane[i] = _mm256_add_epi64(lane[i], _mm256_add_epi64(product, swapped));
        }
}

TARGET_AVX2 static void stripes_avx2(uint64_t acc[8], const uint8_t *data, const uint8_t *key, size_t count)
{
    __m256i lane[2] = {load_avx2(acc), load_avx2(acc + 4)};
    add_stripes_avx2(lane, data, key, count);
    _mm256_storeu_si256((__m256i *)acc, lane[0]);
    _mm256_storeu_si256((__m256i *)(acc + 4), lane[1]);
}

TARGET_AVX2 static void blocks_avx2(uint64_t acc[8], const uint8_t *data, size_t count)
{
    const __m256i prime = _mm256_set1_epi64x(PRIME32_1);
    __m256i lane[2] = {load_avx2(acc), load_avx2(acc + 4)};
    for (; count > 0; count--, data += BLOCK_BYTES) {
        add_stripes_avx2(lane, data, secret, STRIPES_A_BLOCK);
        for (int i = 0; i < 2; i++) {
            __m256i mixed = _mm256_xor_si256(lane[i], _mm256_srli_epi64(lane[i], 47));
            mixed = _mm256_xor_si256(mixed, load_avx2(scramble_key + 32 * i));
            __m256i high = _mm256_mul_epu32(_mm256_srli_epi64(mixed, 32), prime);
            lane[i] = _mm256_add_epi64(_mm256_mul_epu32(mixed, prime), _mm256_slli_epi64(high, 32));
        }
    }
    _mm256_storeu_si256((__m256i *)acc, lane[0]);
    _mm256_storeu_si256((__m256i *)(acc + 4), lane[1]);
}

#endif

const struct xxh3_variant xxh3_64_variants[] = {
    {"scalar", always, stripes_scalar, blocks_scalar},
#if defined(__x86_64__)
    {"sse2", always, stripes_sse2, blocks_sse2},
    {"avx2", has_avx2, stripes_avx2, blocks_avx2},
#endif
    {NULL, NULL, NULL, NULL},
};

uint64_t xxh3_64_with(const struct xxh3_variant *variant, const void *data, size_t size_bytes)
{
    if (size_bytes <= 16)
        return xxh3_up_to_16(data, size_bytes);
    if (size_bytes <= 128)
        return xxh3_17_to_128(data, size_bytes);
    if (size_bytes <= 240)
        return xxh3_129_to_240(data, size_bytes);
    return xxh3_long(variant, data, size_bytes);
}

const struct xxh3_variant *xxh3_64_chosen = &xxh3_64_variants[0];

uint64_t xxh3_64(const void *data, size_t size_bytes)
{
    return xxh3_64_with(xxh3_64_chosen, data, size_bytes);
}
