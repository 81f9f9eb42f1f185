/* The clocks as one number each. */
#ifndef TIERFS_HOLDER_CLOCKS_H
#define TIERFS_HOLDER_CLOCKS_H

#include <stdint.h>
#include <time.h>

static inline uint64_t timespec_ns(struct timespec time)
{
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return timespec_ns(now);
}

static inline uint64_t monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t monotonic_ms(void)
{
    return monotonic_ns() / 1000000;
}

static inline uint64_t wall_clock_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

#endif
