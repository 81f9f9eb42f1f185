/*
 * The CRCs of checksum.h, and checksum_init().
 *
 * The two CRCs share one implementation: both are reflected, start from all ones and end with a
 * complement, so they differ only in polynomial and width. A register narrower than 64 bits lives in
 * the low bits of a uint64_t. Sources: the CRC catalogue of G. Cook for the parameters; "Fast CRC
 * Computation for Generic Polynomials Using PCLMULQDQ" (Gopal et al., Intel, 2009) for folding.
 */
#include "checksum.h"

#include "load.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- CRC: arithmetic modulo the polynomial, and the tables made with it ---- */

struct crc {
    uint64_t polynomial; /* reflected: the bit of x^0 is bit width - 1 */
    unsigned width;
    uint64_t table[8][256];    /* [k][b]: what byte b contributes when k more bytes follow it */
    uint64_t power[64];        /* [k]: x^(8 * 2^k), the shift by 2^k bytes */
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

/* ---- the public functions ---- */

const struct crc_variant *crc64nvme_chosen = &crc64nvme_variants[0];
const struct crc_variant *crc32c_chosen = &crc32c_variants[0];

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
