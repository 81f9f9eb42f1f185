#include "latency.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clocks.h"

/* so many requests within so long are a burst, which ends when none came for as long */
enum { BURST_REQUESTS = 4, BURST_NS = 2000000 };

#define AWAKE_US INT32_C(0)
#define ASLEEP_US INT32_C(2000000000) /* the kernel's own default: no wish */

struct latency {
    int fd, error;
    pthread_mutex_t lock;
    pthread_cond_t work;
    atomic_bool awake;
    atomic_uint_fast64_t count;
    atomic_uint_fast64_t times_ns[BURST_REQUESTS]; /* of the last requests, a ring */
};

struct latency *latency_new(const char *path)
{
    struct latency *latency = calloc(1, sizeof *latency);
    if (latency == NULL)
        return NULL;
    pthread_mutex_init(&latency->lock, NULL);
    pthread_cond_init(&latency->work, NULL);
    latency->fd = open(path, O_WRONLY | O_CLOEXEC);
    if (latency->fd < 0)
        latency->error = -errno;
    return latency;
}

int latency_state(const struct latency *latency)
{
    return latency->error < 0 ? latency->error : 1;
}

/* Called with the lock held. A wish that is refused costs speed, nothing else. */
static void wish(struct latency *latency, bool awake)
{
    int32_t most_us = awake ? AWAKE_US : ASLEEP_US;
    ssize_t ignored = pwrite(latency->fd, &most_us, sizeof most_us, 0);
    (void)ignored;
    atomic_store(&latency->awake, awake);
}

void latency_note(struct latency *latency)
{
    if (latency->fd < 0)
        return;
    uint64_t now = monotonic_ns();
    uint_fast64_t place = atomic_fetch_add(&latency->count, 1) % BURST_REQUESTS;
    uint64_t before = atomic_exchange(&latency->times_ns[place], now);
    if (now - before > BURST_NS || atomic_load(&latency->awake))
        return;
    pthread_mutex_lock(&latency->lock);
    if (!atomic_load(&latency->awake)) {
        wish(latency, true);
        pthread_cond_signal(&latency->work);
    }
    pthread_mutex_unlock(&latency->lock);
}

static void *latency_thread(void *context)
{
    struct latency *latency = context;
    const struct timespec pause = {.tv_nsec = BURST_NS};
    pthread_mutex_lock(&latency->lock);
    for (;;) {
        while (!atomic_load(&latency->awake))
            pthread_cond_wait(&latency->work, &latency->lock);
        uint_fast64_t before = atomic_load(&latency->count);
        pthread_mutex_unlock(&latency->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&latency->lock);
        if (atomic_load(&latency->count) == before)
            wish(latency, false);
    }
    return NULL;
}

bool latency_start(struct latency *latency)
{
    pthread_t thread;
    if (latency->fd < 0)
        return true;
    if (pthread_create(&thread, NULL, latency_thread, latency) != 0)
        return false;
    pthread_detach(thread);
    return true;
}
