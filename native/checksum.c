/*
 * See checksum.h.
 *
 * The two CRCs share one implementation: both are reflected, start from all ones and end with a
 * complement, so they differ only in polynomial and width. A register narrower than 64 bits lives in
 * the low bits of a uint64_t. Sources: the CRC catalogue of G. Cook for the parameters; "Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ" (Gopal et al., Intel, 2009) for folding;
 * doc/xxhash_spec.md of the xxHash project for XXH3.
 */
#include "checksum.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static uint32_t load_le32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

/* ---- CRC: arithmetic modulo the polynomial, and the tables made with it ---- */

struct crc {
    uint64_t polynomial; /* reflected: the bit of x^0 is bit width - 1 */
    unsigned width;
    uint64_t table[8][256];   /* [k][b]: what byte b contributes when k more bytes follow it */
    uint64_t power[64];       /* [k]: x^(8 * 2^k), the shift by 2^k bytes */
    uint64_t fold_bytes[4][2]; /* for folding over 16, 32, 128 and 256 bytes; see fold_constants */
};

enum fold { FOLD_16, FOLD_32, FOLD_128, FOLD_256 };

static struct crc crc64 = {.polynomial = 0x9A6C9329AC4BC9B5u, .width = 64};
static struct crc crc32 = {.polynomial = 0x82F63B78u, .width = 32};

/* a * b */
static uint64_t multiply(const struct crc *crc, uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (uint64_t bit = UINT64_C(1) << (crc->width - 1); bit != 0; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = (b >> 1) ^ (b & 1 ? crc->polynomial : 0);
    }
    return product;
}

/* x^exponent */
static uint64_t x_to_the(const struct crc *crc, unsigned exponent)
{
    uint64_t value = UINT64_C(1) << (crc->width - 1);
    while (exponent-- > 0)
        value = (value >> 1) ^ (value & 1 ? crc->polynomial : 0);
    return value;
}

/*
 * Moving 128 bits over a distance of d bits means multiplying their first 64 bits with x^(d+64) and
 * their last with x^d. A carry-less product of two reflected numbers comes out shifted by one, which is
 * one more factor x; the constants leave it out. They stand in the high bits of 64 whatever the width.
 */
static void fold_constants(struct crc *crc, enum fold which, unsigned distance_bytes)
{
    unsigned distance_bits = 8 * distance_bytes;
    crc->fold_bytes[which][0] = x_to_the(crc, distance_bits + 64 - 1) << (64 - crc->width);
    crc->fold_bytes[which][1] = x_to_the(crc, distance_bits - 1) << (64 - crc->width);
}

static void crc_init(struct crc *crc)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t value = byte;
        for (unsigned bit = 0; bit < 8; bit++)
            value = (value >> 1) ^ (value & 1 ? crc->polynomial : 0);
        crc->table[0][byte] = value;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned byte = 0; byte < 256; byte++) {
            uint64_t before = crc->table[k - 1][byte];
            crc->table[k][byte] = (before >> 8) ^ crc->table[0][before & 0xFF];
        }
    crc->power[0] = x_to_the(crc, 8);
    for (unsigned k = 1; k < 64; k++)
        crc->power[k] = multiply(crc, crc->power[k - 1], crc->power[k - 1]);
    fold_constants(crc, FOLD_16, 16);
    fold_constants(crc, FOLD_32, 32);
    fold_constants(crc, FOLD_128, 128);
    fold_constants(crc, FOLD_256, 256);
}

static uint64_t combine(const struct crc *crc, uint64_t crc_a, uint64_t crc_b, uint64_t size_b_bytes)
{
    for (unsigned k = 0; size_b_bytes != 0; k++, size_b_bytes >>= 1)
        if (size_b_bytes & 1)
            crc_a = multiply(crc, crc_a, crc->power[k]);
    return crc_a ^ crc_b;
}

/* ---- CRC: the scalar reference, eight bytes a step ---- */

static bool always(void)
{
    return true;
}

static inline uint64_t crc_scalar(const struct crc *crc, uint64_t state, const uint8_t *data, size_t size_bytes)
{
    for (; size_bytes >= 8; data += 8, size_bytes -= 8) {
        uint64_t word = load_le64(data) ^ state;
        state = 0;
        for (unsigned k = 0; k < 8; k++)
            state ^= crc->table[7 - k][(word >> (8 * k)) & 0xFF];
    }
    for (; size_bytes > 0; data++, size_bytes--)
        state = (state >> 8) ^ crc->table[0][(state ^ *data) & 0xFF];
    return state;
}

static uint64_t crc64_scalar(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    return crc_scalar(&crc64, state, data, size_bytes);
}

static uint64_t crc32_scalar(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    return crc_scalar(&crc32, state, data, size_bytes);
}

/* ---- CRC: x86-64 ---- */

#if defined(__x86_64__)

#define TARGET_SSE42 __attribute__((target("sse4.2")))
#define TARGET_PCLMUL __attribute__((target("sse4.2,pclmul")))
#define TARGET_VPCLMUL __attribute__((target("sse4.2,pclmul,avx2,vpclmulqdq")))

static bool has_sse42(void)
{
    return __builtin_cpu_supports("sse4.2");
}

static bool has_pclmul(void)
{
    return has_sse42() && __builtin_cpu_supports("pclmul");
}

static bool has_vpclmul(void)
{
    return has_pclmul() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
}

/* SSE4.2 has an instruction for CRC-32C: 8 bytes each 3 cycles, and the best there is for short data. */
TARGET_SSE42 static uint64_t crc32_sse42(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    for (; size_bytes >= 8; data += 8, size_bytes -= 8)
        state = _mm_crc32_u64(state, load_le64(data));
    for (; size_bytes > 0; data++, size_bytes--)
        state = _mm_crc32_u8((uint32_t)state, *data);
    return state;
}

TARGET_PCLMUL static inline __m128i load_constants(const struct crc *crc, enum fold which)
{
    return _mm_loadu_si128((const __m128i *)crc->fold_bytes[which]);
}

TARGET_PCLMUL static inline __m128i load_128(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* `block` moved over the distance that `constants` stand for, and added to what is there. */
TARGET_PCLMUL static inline __m128i fold_128(__m128i block, __m128i constants, __m128i there)
{
    __m128i first = _mm_clmulepi64_si128(block, constants, 0x00);
    __m128i last = _mm_clmulepi64_si128(block, constants, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, last), there);
}

/* Folds whole 16-byte blocks into `block`; leaves in `rest` a block whose CRC from a register of 0 is
 * that of everything folded. Returns how many bytes it took. */
TARGET_PCLMUL static inline size_t fold_blocks(
    const struct crc *crc, __m128i block, const uint8_t *data, size_t size_bytes, uint8_t rest[16])
{
    const __m128i over_16 = load_constants(crc, FOLD_16);
    size_t taken = 0;
    for (; size_bytes - taken >= 16; taken += 16)
        block = fold_128(block, over_16, load_128(data + taken));
    _mm_storeu_si128((__m128i *)rest, block);
    return taken;
}

/* Eight independent registers of 16 bytes, so that the latency of the multiplication hides.
 * `size_bytes` >= 128; returns the bytes taken, `rest` as in fold_blocks. */
TARGET_PCLMUL static inline size_t fold_pclmul(
    const struct crc *crc, uint64_t state, const uint8_t *data, size_t size_bytes, uint8_t rest[16])
{
    const __m128i over_128 = load_constants(crc, FOLD_128);
    const __m128i over_16 = load_constants(crc, FOLD_16);
    __m128i lane[8];
    for (int i = 0; i < 8; i++)
        lane[i] = load_128(data + 16 * i);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi64_si128((long long)state));
    size_t taken = 128;
    for (; size_bytes - taken >= 128; taken += 128)
        for (int i = 0; i < 8; i++)
            lane[i] = fold_128(lane[i], over_128, load_128(data + taken + 16 * i));
    for (int i = 1; i < 8; i++)
        lane[i] = fold_128(lane[i - 1], over_16, lane[i]);
    return taken + fold_blocks(crc, lane[7], data + taken, size_bytes - taken, rest);
}

TARGET_VPCLMUL static inline __m256i fold_256(__m256i block, __m256i constants, __m256i there)
{
    __m256i first = _mm256_clmulepi64_epi128(block, constants, 0x00);
    __m256i last = _mm256_clmulepi64_epi128(block, constants, 0x11);
    return _mm256_xor_si256(_mm256_xor_si256(first, last), there);
}

TARGET_VPCLMUL static inline __m256i load_256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The same with registers of 32 bytes; `size_bytes` >= 256. */
TARGET_VPCLMUL static inline size_t fold_vpclmul(
    const struct crc *crc, uint64_t state, const uint8_t *data, size_t size_bytes, uint8_t rest[16])
{
    const __m256i over_256 = _mm256_broadcastsi128_si256(load_constants(crc, FOLD_256));
    const __m256i over_32 = _mm256_broadcastsi128_si256(load_constants(crc, FOLD_32));
    __m256i lane[8];
    for (int i = 0; i < 8; i++)
        lane[i] = load_256(data + 32 * i);
    lane[0] = _mm256_xor_si256(lane[0], _mm256_zextsi128_si256(_mm_cvtsi64_si128((long long)state)));
    size_t taken = 256;
    for (; size_bytes - taken >= 256; taken += 256)
        for (int i = 0; i < 8; i++)
            lane[i] = fold_256(lane[i], over_256, load_256(data + taken + 32 * i));
    for (int i = 1; i < 8; i++)
        lane[i] = fold_256(lane[i - 1], over_32, lane[i]);
    __m128i block = fold_128(
        _mm256_castsi256_si128(lane[7]), load_constants(crc, FOLD_16), _mm256_extracti128_si256(lane[7], 1));
    return taken + fold_blocks(crc, block, data + taken, size_bytes - taken, rest);
}

/* Folding shortens the data to 16 bytes and a tail of less than 16, which the short method finishes. */

TARGET_PCLMUL static uint64_t crc64_pclmul(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 128)
        return crc64_scalar(state, data, size_bytes);
    uint8_t rest[16];
    size_t taken = fold_pclmul(&crc64, state, data, size_bytes, rest);
    return crc64_scalar(crc64_scalar(0, rest, sizeof rest), data + taken, size_bytes - taken);
}

TARGET_PCLMUL static uint64_t crc32_pclmul(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 128)
        return crc32_sse42(state, data, size_bytes);
    uint8_t rest[16];
    size_t taken = fold_pclmul(&crc32, state, data, size_bytes, rest);
    return crc32_sse42(crc32_sse42(0, rest, sizeof rest), data + taken, size_bytes - taken);
}

TARGET_VPCLMUL static uint64_t crc64_vpclmul(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 256)
        return crc64_pclmul(state, data, size_bytes);
    uint8_t rest[16];
    size_t taken = fold_vpclmul(&crc64, state, data, size_bytes, rest);
    return crc64_scalar(crc64_scalar(0, rest, sizeof rest), data + taken, size_bytes - taken);
}

TARGET_VPCLMUL static uint64_t crc32_vpclmul(uint64_t state, const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 256)
        return crc32_pclmul(state, data, size_bytes);
    uint8_t rest[16];
    size_t taken = fold_vpclmul(&crc32, state, data, size_bytes, rest);
    return crc32_sse42(crc32_sse42(0, rest, sizeof rest), data + taken, size_bytes - taken);
}

#endif

const struct crc_variant crc64nvme_variants[] = {
    {"scalar", always, crc64_scalar},
#if defined(__x86_64__)
    {"pclmul", has_pclmul, crc64_pclmul},
    {"vpclmul", has_vpclmul, crc64_vpclmul},
#endif
    {NULL, NULL, NULL},
};

const struct crc_variant crc32c_variants[] = {
    {"scalar", always, crc32_scalar},
#if defined(__x86_64__)
    {"sse42", has_sse42, crc32_sse42},
    {"pclmul", has_pclmul, crc32_pclmul},
    {"vpclmul", has_vpclmul, crc32_vpclmul},
#endif
    {NULL, NULL, NULL},
};

/* ---- XXH3-64 ---- */

enum { STRIPE_BYTES = 64, SECRET_BYTES = 192, SECRET_STEP_BYTES = 8 };
enum { STRIPES_A_BLOCK = (SECRET_BYTES - STRIPE_BYTES) / SECRET_STEP_BYTES };

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
    uint64_t acc[8] __attribute__((aligned(64))) = {
        PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1,
    };
    const size_t block_bytes = STRIPES_A_BLOCK * STRIPE_BYTES;
    const uint8_t *position = data;
    /* the last stripe is treated apart and overlaps, so a block is done only when more follows */
    size_t left_bytes = size_bytes - 1;
    for (; left_bytes >= block_bytes; position += block_bytes, left_bytes -= block_bytes) {
        variant->accumulate(acc, position, secret, STRIPES_A_BLOCK);
        variant->scramble(acc, secret + SECRET_BYTES - STRIPE_BYTES);
    }
    variant->accumulate(acc, position, secret, left_bytes / STRIPE_BYTES);
    variant->accumulate(acc, data + size_bytes - STRIPE_BYTES, secret + SECRET_BYTES - STRIPE_BYTES - 7, 1);

    uint64_t hash = size_bytes * PRIME64_1;
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *key = secret + 11 + 16 * i;
        hash += multiply_fold(acc[2 * i] ^ load_le64(key), acc[2 * i + 1] ^ load_le64(key + 8));
    }
    return avalanche(hash);
}

static void accumulate_scalar(uint64_t acc[8], const uint8_t *data, const uint8_t *key, size_t count)
{
    for (; count > 0; count--, data += STRIPE_BYTES, key += SECRET_STEP_BYTES)
        for (size_t i = 0; i < 8; i++) {
            uint64_t word = load_le64(data + 8 * i);
            uint64_t keyed = word ^ load_le64(key + 8 * i);
            acc[i ^ 1] += word;
            acc[i] += (keyed & 0xFFFFFFFF) * (keyed >> 32);
        }
}

static void scramble_scalar(uint64_t acc[8], const uint8_t *key)
{
    for (size_t i = 0; i < 8; i++)
        acc[i] = (acc[i] ^ (acc[i] >> 47) ^ load_le64(key + 8 * i)) * PRIME32_1;
}

#if defined(__x86_64__)

#define TARGET_AVX2 __attribute__((target("avx2")))

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static void accumulate_sse2(uint64_t acc[8], const uint8_t *data, const uint8_t *key, size_t count)
{
    __m128i lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = _mm_loadu_si128((const __m128i *)(acc + 2 * i));
    for (; count > 0; count--, data += STRIPE_BYTES, key += SECRET_STEP_BYTES)
        for (int i = 0; i < 4; i++) {
            __m128i word = _mm_loadu_si128((const __m128i *)(data + 16 * i));
            __m128i keyed = _mm_xor_si128(word, _mm_loadu_si128((const __m128i *)(key + 16 * i)));
            __m128i product = _mm_mul_epu32(keyed, _mm_srli_epi64(keyed, 32));
            __m128i swapped = _mm_shuffle_epi32(word, _MM_SHUFFLE(1, 0, 3, 2));
            lane[i] = _mm_add_epi64(lane[i], _mm_add_epi64(product, swapped));
        }
    for (int i = 0; i < 4; i++)
        _mm_storeu_si128((__m128i *)(acc + 2 * i), lane[i]);
}

TARGET_AVX2 static void accumulate_avx2(uint64_t acc[8], const uint8_t *data, const uint8_t *key, size_t count)
{
    __m256i lane[2];
    for (int i = 0; i < 2; i++)
        lane[i] = _mm256_loadu_si256((const __m256i *)(acc + 4 * i));
    for (; count > 0; count--, data += STRIPE_BYTES, key += SECRET_STEP_BYTES)
        for (int i = 0; i < 2; i++) {
            __m256i word = _mm256_loadu_si256((const __m256i *)(data + 32 * i));
            __m256i keyed = _mm256_xor_si256(word, _mm256_loadu_si256((const __m256i *)(key + 32 * i)));
            __m256i product = _mm256_mul_epu32(keyed, _mm256_srli_epi64(keyed, 32));
            __m256i swapped = _mm256_shuffle_epi32(word, _MM_SHUFFLE(1, 0, 3, 2));
            lane[i] = _mm256_add_epi64(lane[i], _mm256_add_epi64(product, swapped));
        }
    for (int i = 0; i < 2; i++)
        _mm256_storeu_si256((__m256i *)(acc + 4 * i), lane[i]);
}

#endif

/* scramble_scalar in all: it runs once per KiB, and a vector one gained nothing measurable */
const struct xxh3_variant xxh3_64_variants[] = {
    {"scalar", always, accumulate_scalar, scramble_scalar},
#if defined(__x86_64__)
    {"sse2", always, accumulate_sse2, scramble_scalar},
    {"avx2", has_avx2, accumulate_avx2, scramble_scalar},
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

/* ---- the public functions ---- */

const struct crc_variant *crc64nvme_chosen = &crc64nvme_variants[0];
const struct crc_variant *crc32c_chosen = &crc32c_variants[0];
const struct xxh3_variant *xxh3_64_chosen = &xxh3_64_variants[0];

void checksum_init(void)
{
    crc_init(&crc64);
    crc_init(&crc32);
    for (const struct crc_variant *variant = crc64nvme_variants; variant->name; variant++)
        if (variant->supported())
            crc64nvme_chosen = variant;
    for (const struct crc_variant *variant = crc32c_variants; variant->name; variant++)
        if (variant->supported())
            crc32c_chosen = variant;
    for (const struct xxh3_variant *variant = xxh3_64_variants; variant->name; variant++)
        if (variant->supported())
            xxh3_64_chosen = variant;
}

uint64_t crc64nvme(uint64_t previous, const void *data, size_t size_bytes)
{
    return ~crc64nvme_chosen->run(~previous, data, size_bytes);
}

uint32_t crc32c(uint32_t previous, const void *data, size_t size_bytes)
{
    return ~(uint32_t)crc32c_chosen->run(~previous, data, size_bytes);
}

uint64_t crc64nvme_combine(uint64_t crc_a, uint64_t crc_b, uint64_t size_b_bytes)
{
    return combine(&crc64, crc_a, crc_b, size_b_bytes);
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b_bytes)
{
    return (uint32_t)combine(&crc32, crc_a, crc_b, size_b_bytes);
}

uint64_t xxh3_64(const void *data, size_t size_bytes)
{
    return xxh3_64_with(xxh3_64_chosen, data, size_bytes);
}
