/*
 * tierfs-holder: owns the kernel connection of a mount, so that the file system process behind it may be slow, may
 * be written in Python and may go away. Started by tierfs/fuse/holder.py; not for people.
 *
 *   tierfs-holder --packets FD --control FD --mountpoint PATH --options OPTIONS [settings] [-- COMMAND OF THE DAEMON]
 *   tierfs-holder --packets FD --control FD --kernel FD [settings]        the kernel is played by a test
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "brake.h"
#include "control.h"
#include "gate.h"
#include "holder.h"
#include "interrupts.h"
#include "known.h"
#include "latency.h"
#include "mount.h"
#include "notify.h"
#include "relay.h"
#include "restart.h"
#include "tokens.h"

enum { KERNEL_READERS = 6 };

struct arguments {
    int packets_fd, control_fd, kernel_fd;
    const char *mountpoint, *options, *latency;
    unsigned readahead_kib, background_max, transfer_kib, tasks_max;
    bool passthrough, fail_on_exit;
    char **restart; /* the daemon's command, NULL: it has one life */
};

void say(const char *format, ...)
{
    char line[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    fprintf(stderr, "tierfs-holder: %s\n", line);
}

static bool number(const char *text, unsigned most, unsigned *value)
{
    char *end;
    errno = 0;
    unsigned long parsed = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || parsed > most)
        return false;
    *value = (unsigned)parsed;
    return true;
}

static bool take_argument(struct arguments *arguments, const char *name, const char *value)
{
    unsigned parsed = 0;
    if (strcmp(name, "--mountpoint") == 0)
        arguments->mountpoint = value;
    else if (strcmp(name, "--options") == 0)
        arguments->options = value;
    else if (strcmp(name, "--latency") == 0)
        arguments->latency = value;
    else if (strcmp(name, "--readahead-kib") == 0)
        return number(value, 1 << 20, &arguments->readahead_kib);
    else if (strcmp(name, "--transfer-kib") == 0)
        return number(value, TRANSFER_MAX_BYTES / 1024, &arguments->transfer_kib) && arguments->transfer_kib >= 4;
    else if (strcmp(name, "--background") == 0)
        return number(value, UINT16_MAX, &arguments->background_max);
    else if (strcmp(name, "--tasks") == 0)
        return number(value, INT32_MAX, &arguments->tasks_max);
    else if (!number(value, INT32_MAX, &parsed))
        return false;
    else if (strcmp(name, "--packets") == 0)
        arguments->packets_fd = (int)parsed;
    else if (strcmp(name, "--control") == 0)
        arguments->control_fd = (int)parsed;
    else if (strcmp(name, "--kernel") == 0)
        arguments->kernel_fd = (int)parsed;
    else if (strcmp(name, "--passthrough") == 0)
        arguments->passthrough = parsed != 0;
    else if (strcmp(name, "--stay") == 0)
        arguments->fail_on_exit = parsed != 0;
    else
        return false;
    return true;
}

static bool parse(struct arguments *arguments, int argc, char **argv)
{
    for (int i = 1; i < argc && arguments->restart == NULL; i += 2)
        if (strcmp(argv[i], "--") == 0 && i + 1 < argc)
            arguments->restart = argv + i + 1;
        else if (i + 1 == argc || !take_argument(arguments, argv[i], argv[i + 1]))
            return false;
    bool mounts = arguments->mountpoint != NULL && arguments->options != NULL;
    return arguments->packets_fd >= 0 && arguments->control_fd >= 0 && mounts == (arguments->kernel_fd < 0);
}

static void prepare_process(const struct arguments *arguments)
{
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN);  /* a lease that somebody breaks */
    signal(SIGINT, SIG_IGN); /* a terminal's: the daemon decides */
    signal(SIGHUP, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max; /* each registered file is one */
        setrlimit(RLIMIT_NOFILE, &files);
    }
    const int fds[] = {arguments->packets_fd, arguments->control_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) & ~O_NONBLOCK);
        relay_size_link(fds[i]);
    }
}

/* Who made the control link. */
static pid_t peer_pid(int socket_fd)
{
    struct ucred peer = {0};
    socklen_t size_bytes = sizeof peer;
    return getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size_bytes) == 0 ? peer.pid : 0;
}

/* A backing file that Python has taken back is not used any more. */
static void withdrawn(void *holder, uint32_t tag)
{
    control_answer(holder, tag, 0, 0, 0, NULL, 0);
}

/* The switch is not to wait for ever while requests come. */
static void init_switching(struct holder *holder)
{
    pthread_rwlockattr_t kind;
    pthread_rwlockattr_init(&kind);
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&holder->switching, &kind);
    pthread_rwlockattr_destroy(&kind);
}

static bool build(struct holder *holder, const struct arguments *arguments)
{
    holder->mountpoint = arguments->mountpoint;
    holder->control_fd = arguments->control_fd;
    holder->on_exit = arguments->fail_on_exit ? ON_EXIT_FAIL : ON_EXIT_UNMOUNT;
    holder->limits = (struct wire_limits){.max_readahead_bytes = arguments->readahead_kib * 1024u,
                                          .transfer_max_bytes = arguments->transfer_kib * 1024u,
                                          .max_background = (uint16_t)arguments->background_max,
                                          .passthrough = arguments->passthrough};
    holder->inflight = inflight_new();
    holder->packets = packets_new(arguments->packets_fd);
    /* what none of them has is left for names and attributes */
    holder->opens = gate_new((arguments->tasks_max + 3) / 4);
    holder->reads = gate_new((arguments->tasks_max + 1) / 2);
    holder->writes = gate_new((arguments->tasks_max + 7) / 8);
    holder->brake = brake_new(peer_pid(arguments->control_fd));
    holder->hot = holder->brake != NULL ? hot_new(holder->kernel_fd, holder->brake) : NULL;
    holder->served = served_new(withdrawn, holder);
    holder->directories = directories_new();
    holder->interrupts = interrupts_new();
    holder->known = known_new();
    holder->tokens = tokens_new();
    holder->restart = arguments->restart != NULL ? restart_new(arguments->restart) : NULL;
    init_switching(holder);
    holder->latency = latency_new(arguments->latency);
    holder->notifier = notify_new();
    return holder->inflight && holder->packets && holder->opens && holder->reads && holder->writes && holder->hot &&
           holder->served && holder->directories && holder->interrupts && holder->latency && holder->notifier && holder->known &&
           holder->tokens && (holder->restart != NULL || arguments->restart == NULL);
}

static bool run(struct holder *holder)
{
    pthread_t readers[KERNEL_READERS], python;
    if (!packets_start(holder->packets) || !brake_start(holder->brake) || !interrupts_start(holder) ||
        !latency_start(holder->latency) || !notify_start(holder) || !control_start(holder) || pthread_create(&python, NULL, relay_python_thread, holder) != 0)
        return false;
    for (int i = 0; i < KERNEL_READERS; i++)
        if (pthread_create(&readers[i], NULL, relay_kernel_thread, holder) != 0)
            return false;
    for (int i = 0; i < KERNEL_READERS; i++)
        pthread_join(readers[i], NULL);
    atomic_store(&holder->ended, true);
    packets_shut(holder->packets); /* pyfuse3 sees the end of the session */
    pthread_join(python, NULL);
    packets_join(holder->packets);
    control_event(holder, CONTROL_ENDED, 0, 0);
    if (holder->has_control)
        pthread_detach(holder->control_thread); /* the process takes it along */
    return true;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.packets_fd = -1,
                                  .control_fd = -1,
                                  .kernel_fd = -1,
                                  .latency = "",
                                  .readahead_kib = 1024,
                                  .background_max = 512,
                                  .transfer_kib = TRANSFER_MAX_BYTES / 1024,
                                  .passthrough = true};
    if (!parse(&arguments, argc, argv)) {
        say("started by tierfs, not by hand");
        return 2;
    }
    prepare_process(&arguments);
    static struct holder holder;
    holder.kernel_fd = arguments.kernel_fd;
    holder.control_fd = arguments.control_fd;
    if (arguments.mountpoint != NULL)
        holder.kernel_fd = mount_begin(arguments.mountpoint, arguments.options);
    if (holder.kernel_fd < 0) {
        control_event(&holder, CONTROL_MOUNTED, holder.kernel_fd, CONTROL_VERSION);
        return 1;
    }
    if (!build(&holder, &arguments)) {
        control_event(&holder, CONTROL_MOUNTED, -ENOMEM, CONTROL_VERSION);
        return 1;
    }
    control_event(&holder, CONTROL_MOUNTED, 0, CONTROL_VERSION);
    /* other threads may stand in the kernel or wait for work for ever: the process takes them along */
    _exit(run(&holder) ? 0 : 1);
}
