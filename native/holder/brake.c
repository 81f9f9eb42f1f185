#include "brake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <time.h>
#include <unistd.h>

/* newer than the headers of Debian 12 */
#define PRE_ACCESS UINT64_C(0x00100000)

enum { LOOK_MS = 1000, EVENTS_BYTES = 65536, WAITING_MAX = 65536 };

struct held {
    int fd; /* names the event in the answer */
    pid_t pid;
};

struct brake {
    pthread_mutex_t lock;
    int group_fd;
    atomic_int state;
    pid_t daemon_pid;
    bool on;
    struct held *held;
    size_t count, capacity;
};

struct brake *brake_new(int daemon_pid)
{
    struct brake *brake = calloc(1, sizeof *brake);
    if (brake == NULL)
        return NULL;
    pthread_mutex_init(&brake->lock, NULL);
    brake->daemon_pid = daemon_pid;
    brake->group_fd = fanotify_init(
        FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS, O_RDONLY | O_CLOEXEC);
    if (brake->group_fd < 0)
        atomic_store(&brake->state, -errno);
    return brake;
}

int brake_state(struct brake *brake)
{
    return atomic_load(&brake->state);
}

size_t brake_waiting(struct brake *brake)
{
    pthread_mutex_lock(&brake->lock);
    size_t count = brake->count;
    pthread_mutex_unlock(&brake->lock);
    return count;
}

static int change_mark(struct brake *brake, int fd, unsigned how)
{
    return fanotify_mark(brake->group_fd, how, PRE_ACCESS, fd, NULL) == 0 ? 0 : -errno;
}

void brake_ignore(struct brake *brake, int fd, bool ignored)
{
    if (brake->group_fd >= 0)
        change_mark(brake, fd, (ignored ? FAN_MARK_ADD : FAN_MARK_REMOVE) | FAN_MARK_IGNORED_MASK |
                                   FAN_MARK_IGNORED_SURV_MODIFY);
}

void brake_mark(struct brake *brake, int fd, bool ignored)
{
    if (brake->group_fd < 0)
        return;
    if (ignored)
        brake_ignore(brake, fd, true);
    int result = change_mark(brake, fd, FAN_MARK_ADD);
    atomic_store(&brake->state, result == 0 ? 1 : result);
}

void brake_unmark(struct brake *brake, int fd)
{
    if (brake->group_fd < 0)
        return;
    change_mark(brake, fd, FAN_MARK_REMOVE);
    brake_ignore(brake, fd, false);
}

void brake_try(struct brake *brake, int fd)
{
    if (brake_state(brake) != 0)
        return;
    brake_mark(brake, fd, true);
    brake_unmark(brake, fd);
}

static void allow(struct brake *brake, int event_fd)
{
    struct fanotify_response response = {.fd = event_fd, .response = FAN_ALLOW};
    /* ENOENT: who asked has been killed */
    while (write(brake->group_fd, &response, sizeof response) < 0 && errno == EINTR)
        ;
    close(event_fd);
}

/* True if it waits. Called with the lock held. */
static bool hold(struct brake *brake, const struct fanotify_event_metadata *event)
{
    if (!brake->on || event->pid == getpid() || event->pid == brake->daemon_pid)
        return false;
    if (brake->count == brake->capacity && brake->capacity < WAITING_MAX) {
        size_t capacity = brake->capacity ? brake->capacity * 2 : 64;
        struct held *grown = realloc(brake->held, capacity * sizeof *grown);
        if (grown != NULL) {
            brake->held = grown;
            brake->capacity = capacity;
        }
    }
    if (brake->count == brake->capacity)
        return false;
    brake->held[brake->count++] = (struct held){event->fd, event->pid};
    return true;
}

void brake_switch(struct brake *brake, bool on)
{
    pthread_mutex_lock(&brake->lock);
    brake->on = on;
    while (!on && brake->count > 0)
        allow(brake, brake->held[--brake->count].fd);
    pthread_mutex_unlock(&brake->lock);
}

/* The descriptor of an event keeps a removed file's room: that of a program that was killed is let go. */
static void let_the_dead_go(struct brake *brake)
{
    pthread_mutex_lock(&brake->lock);
    for (size_t i = 0; i < brake->count;) {
        if (kill(brake->held[i].pid, 0) != 0 && errno == ESRCH) {
            allow(brake, brake->held[i].fd);
            brake->held[i] = brake->held[--brake->count];
        } else {
            i++;
        }
    }
    pthread_mutex_unlock(&brake->lock);
}

static void take_events(struct brake *brake, const char *events, ssize_t size_bytes)
{
    const struct fanotify_event_metadata *event = (const void *)events;
    pthread_mutex_lock(&brake->lock);
    for (; FAN_EVENT_OK(event, size_bytes); event = FAN_EVENT_NEXT(event, size_bytes))
        if (event->vers == FANOTIFY_METADATA_VERSION && event->fd >= 0 && !hold(brake, event))
            allow(brake, event->fd);
    pthread_mutex_unlock(&brake->lock);
}

static void *brake_thread(void *context)
{
    struct brake *brake = context;
    static _Alignas(struct fanotify_event_metadata) char events[EVENTS_BYTES]; /* only this thread comes here */
    const struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        struct pollfd ready = {.fd = brake->group_fd, .events = POLLIN};
        if (poll(&ready, 1, brake_waiting(brake) > 0 ? LOOK_MS : -1) <= 0) {
            let_the_dead_go(brake);
            continue;
        }
        ssize_t size_bytes = read(brake->group_fd, events, EVENTS_BYTES);
        if (size_bytes > 0)
            take_events(brake, events, size_bytes);
        else
            nanosleep(&pause, NULL); /* no descriptor left: the kernel refused the write that asked */
    }
    return NULL;
}

void brake_set_daemon(struct brake *brake, int daemon_pid)
{
    pthread_mutex_lock(&brake->lock);
    brake->daemon_pid = daemon_pid;
    pthread_mutex_unlock(&brake->lock);
}

bool brake_start(struct brake *brake)
{
    pthread_t thread;
    if (brake->group_fd < 0)
        return true;
    if (pthread_create(&thread, NULL, brake_thread, brake) != 0)
        return false;
    pthread_detach(thread);
    return true;
}
