#include "interrupts.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "holder.h"
#include "relay.h"

enum { LOOK_MS = 20, ORPHAN_LOOKS = 50 };

struct interrupts {
    pthread_mutex_t lock;
    pthread_cond_t work;
    uint64_t *uniques;
    uint32_t *looks; /* how often it was looked at while the request was not in the table */
    size_t count, capacity;
};

struct interrupts *interrupts_new(void)
{
    struct interrupts *interrupts = calloc(1, sizeof *interrupts);
    if (interrupts != NULL) {
        pthread_mutex_init(&interrupts->lock, NULL);
        pthread_cond_init(&interrupts->work, NULL);
    }
    return interrupts;
}

void interrupts_add(struct interrupts *interrupts, uint64_t unique)
{
    pthread_mutex_lock(&interrupts->lock);
    if (interrupts->count == interrupts->capacity) {
        size_t capacity = interrupts->capacity ? interrupts->capacity * 2 : 64;
        uint64_t *uniques = realloc(interrupts->uniques, capacity * sizeof *uniques);
        if (uniques != NULL)
            interrupts->uniques = uniques;
        uint32_t *looks = realloc(interrupts->looks, capacity * sizeof *looks);
        if (looks != NULL)
            interrupts->looks = looks;
        if (uniques != NULL && looks != NULL)
            interrupts->capacity = capacity;
    }
    if (interrupts->count < interrupts->capacity) {
        interrupts->uniques[interrupts->count] = unique;
        interrupts->looks[interrupts->count++] = 0;
    }
    pthread_cond_signal(&interrupts->work);
    pthread_mutex_unlock(&interrupts->lock);
}

#define BIT(signal) (UINT64_C(1) << ((signal)-1))

static bool may_return_eintr(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_OPEN:
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_STATFS:
    case FUSE_FSYNC:
    case FUSE_GETXATTR:
    case FUSE_OPENDIR:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_LSEEK:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        return true;
    default:
        return false; /* it changes the name space: an error for what then happens would be a lie */
    }
}

bool interrupts_ends(uint32_t opcode, uint64_t thread_pending, uint64_t pending, uint64_t blocked, uint64_t ignored,
                     uint64_t caught)
{
    const uint64_t harmless = BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGSTOP) |
                              BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU);
    const uint64_t of_users = BIT(SIGINT) | BIT(SIGTERM) | BIT(SIGHUP) | BIT(SIGQUIT);
    uint64_t all = thread_pending | pending;
    if (opcode == FUSE_INIT || opcode == FUSE_DESTROY || opcode == FUSE_RELEASE || opcode == FUSE_RELEASEDIR)
        return false;
    if (all & BIT(SIGKILL)) /* the kernel sets it in each thread of a process that a fatal signal ends */
        return true;
    all &= ~blocked & ~ignored;
    if (all & ~caught & ~harmless)
        return true;
    return (all & caught & of_users) != 0 && may_return_eintr(opcode);
}

static uint64_t mask_of(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    return line != NULL ? strtoull(line + strlen(name), NULL, 16) : 0;
}

static bool ends(const struct waiting *request)
{
    char path[64], status[4096];
    if (request->pid == 0)
        return true; /* another pid namespace: nothing can be seen, and waiting may be for ever */
    snprintf(path, sizeof path, "/proc/%u/status", request->pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return true;
    size_t size_bytes = fread(status, 1, sizeof status - 1, file);
    fclose(file);
    status[size_bytes] = '\0';
    if (strstr(status, "SigCgt:") == NULL)
        return true; /* it has just ended */
    return interrupts_ends(request->opcode, mask_of(status, "SigPnd:"), mask_of(status, "ShdPnd:"),
                           mask_of(status, "SigBlk:"), mask_of(status, "SigIgn:"), mask_of(status, "SigCgt:"));
}

/* True when there is nothing more to look at. */
static bool settle(struct holder *holder, uint64_t unique, uint32_t *looks)
{
    struct waiting request;
    if (!inflight_look(holder->inflight, unique, &request))
        return ++*looks > ORPHAN_LOOKS; /* answered long ago, or another thread has yet to note it */
    if (request.abandoned)
        return true;
    if (!ends(&request))
        return false;
    if (inflight_abandon(holder->inflight, unique)) {
        atomic_fetch_add(&holder->counters.interrupted, 1);
        relay_refuse(holder, request.unique, -EINTR);
    }
    return true;
}

static void *interrupts_thread(void *context)
{
    struct holder *holder = context;
    struct interrupts *interrupts = holder->interrupts;
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    pthread_mutex_lock(&interrupts->lock);
    for (;;) {
        while (interrupts->count == 0)
            pthread_cond_wait(&interrupts->work, &interrupts->lock);
        for (size_t i = 0; i < interrupts->count;) {
            uint64_t unique = interrupts->uniques[i];
            uint32_t looks = interrupts->looks[i];
            pthread_mutex_unlock(&interrupts->lock);
            bool done = settle(holder, unique, &looks);
            pthread_mutex_lock(&interrupts->lock); /* others only append, so place i is still this one */
            interrupts->looks[i] = looks;
            if (done) {
                interrupts->count--;
                interrupts->uniques[i] = interrupts->uniques[interrupts->count];
                interrupts->looks[i] = interrupts->looks[interrupts->count];
            } else {
                i++;
            }
        }
        pthread_mutex_unlock(&interrupts->lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&interrupts->lock);
    }
    return NULL;
}

bool interrupts_start(struct holder *holder)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, interrupts_thread, holder) != 0)
        return false;
    pthread_detach(thread);
    return true;
}
