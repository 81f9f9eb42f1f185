#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "brake.h"
#include "clocks.h"
#include "control.h"
#include "gate.h"
#include "holder.h"
#include "known.h"
#include "pieces.h"
#include "relay.h"
#include "tokens.h"

enum { LIVES_MAX = 5, LIVES_WITHIN_MS = 60000 };

extern char **environ;

struct restart {
    char **command;
    pid_t child; /* 0: the first daemon, which is no child of ours */
    size_t count;
    uint64_t starts_ms[LIVES_MAX];
    struct fuse_in_header *init;
    atomic_bool asks_again; /* the kernel can */
};

struct restart *restart_new(char **command)
{
    struct restart *restart = calloc(1, sizeof *restart);
    if (restart != NULL)
        restart->command = command;
    return restart;
}

void restart_keep_init(struct restart *restart, const struct fuse_in_header *init, bool asks_again)
{
    restart->init = malloc(init->len);
    if (restart->init != NULL)
        memcpy(restart->init, init, init->len);
    atomic_store(&restart->asks_again, asks_again);
}

bool restart_asks_again(const struct holder *holder)
{
    return holder->restart != NULL && atomic_load(&holder->restart->asks_again);
}

bool restart_gives_up(uint64_t starts_ms[], size_t *count, uint64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (now_ms - starts_ms[i] < LIVES_WITHIN_MS)
            starts_ms[kept++] = starts_ms[i];
    *count = kept;
    if (kept == LIVES_MAX)
        return true;
    starts_ms[(*count)++] = now_ms;
    return false;
}

/* Nobody has them any more. A RELEASE needs no answer from the next daemon, which is not told of the handle. */
static void drop_requests(struct holder *holder)
{
    struct waiting request;
    tokens_forget(holder->tokens);
    while (inflight_take_any(holder->inflight, &request)) {
        pieces_free(request.pieces);
        if (request.internal || request.abandoned)
            continue;
        if (request.opcode == FUSE_RELEASE || request.opcode == FUSE_RELEASEDIR)
            relay_refuse(holder, request.unique, 0);
        else if (!restart_asks_again(holder) ||
                 (request.token != 0 && !tokens_keep(holder->tokens, request.unique, request.token)))
            relay_refuse(holder, request.unique, -ENOTCONN);
    }
    gate_clear(holder->opens);
    gate_clear(holder->reads);
    gate_clear(holder->writes);
}

static bool replay_init(struct holder *holder, struct fuse_in_header *init)
{
    init->unique = relay_internal_unique(holder);
    struct waiting request = {.unique = init->unique, .opcode = FUSE_INIT, .internal = true};
    return inflight_add(holder->inflight, &request) && packets_send(holder->packets, init, init->len) == 0;
}

static void ask_again(struct holder *holder)
{
    struct fuse_out_header header = {.len = sizeof header, .error = FUSE_NOTIFY_RESEND};
    struct iovec part = {&header, sizeof header};
    int result = relay_write(holder, &part, 1);
    if (result != 0)
        say("the kernel does not ask again: %s", strerror(-result));
}

/* The state of the new daemon's life: an unlinked file at its start, or -errno. */
static int state_file(struct holder *holder)
{
    int fd = memfd_create("tierfs-state", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = known_write(holder->known, fd);
    if (result == 0)
        result = hot_write(holder->hot, fd);
    if (result == 0)
        result = tokens_write(holder->tokens, fd);
    if (result == 0 && lseek(fd, 0, SEEK_SET) != 0)
        result = -EIO;
    if (result != 0)
        close(fd);
    return result != 0 ? result : fd;
}

/* The environment of this process with one variable more; the strings but that one are not copied. */
static char **environment_with(char *variable)
{
    const size_t name_bytes = sizeof RESTART_VARIABLE; /* with its = */
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **made = calloc(count + 2, sizeof *made);
    if (made == NULL)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], RESTART_VARIABLE "=", name_bytes) != 0)
            made[kept++] = environ[i];
    made[kept] = variable;
    return made;
}

static int spawn(struct restart *restart, const int fds[3])
{
    char variable[128];
    snprintf(variable, sizeof variable, RESTART_VARIABLE "=%d,%d,%d", fds[0], fds[1], fds[2]);
    char **environment = environment_with(variable);
    if (environment == NULL)
        return ENOMEM;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    for (const int *at = (const int[]){SIGPIPE, SIGIO, SIGINT, SIGHUP, 0}; *at != 0; at++)
        sigaddset(&defaults, *at);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    for (int i = 0; i < 3; i++)
        fcntl(fds[i], F_SETFD, 0);
    int result = posix_spawnp(&restart->child, restart->command[0], NULL, &attributes, restart->command, environment);
    posix_spawnattr_destroy(&attributes);
    free(environment);
    return result;
}

/* Both links anew under their old numbers; theirs[] are the daemon's ends. */
static bool fresh_links(struct holder *holder, int theirs[2])
{
    int packets[2], control[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets) != 0)
        return false;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) {
        close(packets[0]);
        close(packets[1]);
        return false;
    }
    relay_size_link(packets[0]);
    relay_size_link(packets[1]);
    relay_size_link(control[0]);
    dup3(control[0], holder->control_fd, O_CLOEXEC);
    close(control[0]);
    theirs[0] = packets[1];
    theirs[1] = control[1];
    if (packets_reopen(holder->packets, packets[0]))
        return true;
    close(theirs[0]);
    close(theirs[1]);
    return false;
}

/* A daemon of ours that has ended by itself had its reasons. */
static bool was_killed(struct restart *restart)
{
    int status = 0;
    if (restart->child == 0)
        return true;
    while (waitpid(restart->child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status);
}

static bool hand_over(struct holder *holder, int fds[3])
{
    struct restart *restart = holder->restart;
    drop_requests(holder);
    served_clear(holder->served);
    directories_clear(holder->directories);
    fds[2] = state_file(holder);
    if (fds[2] < 0)
        return false;
    bool linked = fresh_links(holder, fds);
    int error = linked ? spawn(restart, fds) : EMFILE;
    if (error == 0) {
        brake_set_daemon(holder->brake, restart->child);
        control_event(holder, CONTROL_MOUNTED, 0, CONTROL_VERSION);
        error = replay_init(holder, restart->init) && control_start(holder) ? 0 : EIO;
    }
    if (linked) {
        close(fds[0]);
        close(fds[1]);
    }
    close(fds[2]);
    if (error != 0)
        say("the daemon cannot be started again: %s", strerror(error));
    else if (restart_asks_again(holder))
        ask_again(holder);
    return error == 0;
}

bool restart_daemon(struct holder *holder)
{
    struct restart *restart = holder->restart;
    if (restart == NULL || restart->init == NULL || !atomic_load(&holder->init_answered) ||
        atomic_load(&holder->ended) || atomic_load(&holder->leaving) || !was_killed(restart))
        return false;
    if (restart_gives_up(restart->starts_ms, &restart->count, monotonic_ms())) {
        say("the daemon died %d times within %d s and is not started again", LIVES_MAX + 1, LIVES_WITHIN_MS / 1000);
        return false;
    }
    packets_shut(holder->packets); /* whoever waits for it goes on */
    control_stop(holder);
    hot_brake(holder->hot, false);
    hot_changed(holder->hot, 0); /* what it has changed and not said */
    int fds[3];
    pthread_rwlock_wrlock(&holder->switching);
    bool done = hand_over(holder, fds);
    if (done)
        atomic_fetch_add(&holder->restarts, 1);
    pthread_rwlock_unlock(&holder->switching);
    if (done)
        say("the daemon died; the next one, pid %d, takes over", (int)restart->child);
    return done;
}
