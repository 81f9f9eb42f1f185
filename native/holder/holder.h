/*
 * What the threads of the holder share.
 *
 *   kernel readers (6)  /dev/fuse -> answered here, or the packet socket. Never wait for Python; at most four of
 *                       them at a time for the disk, where a full page cache may hold a write.
 *   python reader       packet socket -> /dev/fuse. Never waits: a write to /dev/fuse only copies.
 *   packet sender       what the packet socket did not take at once
 *   interrupts          looks at the signals of threads whose wait was interrupted
 *   notifier            invalidations -> /dev/fuse. The only one that may wait inside the kernel, for a request that
 *                       somebody else has to answer; nobody waits for it.
 *   brake               answers whether a program may write now, when it is asked
 *   latency             lets processors sleep again after a burst of requests
 *   control             the control link; and one thread for an unmount, which may wait, too. The python reader carries
 *                       out what came there before each of its packets, so that the two links keep Python's order
 */
#ifndef TIERFS_HOLDER_H
#define TIERFS_HOLDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "directories.h"
#include "fuse_wire.h"
#include "hot_table.h"
#include "inflight.h"
#include "packets.h"
#include "served.h"

enum on_exit_of_python {
    ON_EXIT_UNMOUNT, /* answer what waits with ENOTCONN, unmount lazily, end */
    ON_EXIT_FAIL     /* answer everything with ENOTCONN but what is hot, until somebody unmounts */
};

struct counters {
    atomic_uint_fast64_t forwarded, answered_here, interrupted, swallowed, malformed, undelivered;
    atomic_uint_fast64_t notified, notify_failed, notify_dropped;
};

struct control_link;
struct gate;
struct interrupts;
struct latency;
struct known;
struct notifier;
struct restart;
struct tokens;

struct holder {
    int kernel_fd, control_fd;
    const char *mountpoint; /* NULL: the kernel is played by a test */
    enum on_exit_of_python on_exit;
    struct wire_limits limits;
    struct wire_session session; /* of the first INIT: its request and then its answer, one after the other */
    atomic_bool init_seen;
    atomic_uint kernel_minor;
    atomic_bool passthrough_agreed;
    struct inflight *inflight;
    struct packets *packets;
    struct gate *opens, *reads, *writes;
    struct brake *brake;
    struct hot_table *hot;
    struct served_table *served;
    struct directories *directories;
    atomic_uint disk_busy; /* reader threads that may stand in a read or write of a backing file */
    struct interrupts *interrupts;
    struct latency *latency;
    struct notifier *notifier;
    atomic_bool python_gone, ended;
    struct known *known;
    struct tokens *tokens;
    struct restart *restart; /* NULL: the daemon has one life */
    pthread_rwlock_t switching; /* read: somebody works on a request of the kernel. Write: the daemon changes */
    struct control_link *control;
    pthread_t control_thread;
    bool has_control; /* the thread is there */
    atomic_bool init_answered, leaving; /* leaving: the daemon ends by itself */
    atomic_uint restarts;
    atomic_uint_fast64_t last_internal;
    struct counters counters;
};

/* Lines for people, on stderr; callers keep them rare. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

#endif
