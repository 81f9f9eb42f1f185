#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPTIONS_MAX_BYTES = 4000 };

static const struct {
    const char *name;
    unsigned long set, clear;
} FLAGS[] = {
    {"ro", MS_RDONLY, 0},         {"rw", 0, MS_RDONLY},          {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},       {"nodev", MS_NODEV, 0},        {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},     {"exec", 0, MS_NOEXEC},        {"noatime", MS_NOATIME, 0},
    {"atime", 0, MS_NOATIME},     {"nodiratime", MS_NODIRATIME, 0}, {"relatime", MS_RELATIME, 0},
    {"strictatime", MS_STRICTATIME, 0}, {"sync", MS_SYNCHRONOUS, 0}, {"dirsync", MS_DIRSYNC, 0},
};

struct parsed {
    unsigned long flags;
    char source[1024], type[128];
    char data[OPTIONS_MAX_BYTES]; /* for the file system itself */
};

static void take_option(struct parsed *parsed, const char *option)
{
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++) {
        if (strcmp(option, FLAGS[i].name) == 0) {
            parsed->flags = (parsed->flags | FLAGS[i].set) & ~FLAGS[i].clear;
            return;
        }
    }
    if (strncmp(option, "fsname=", 7) == 0) {
        snprintf(parsed->source, sizeof parsed->source, "%s", option + 7);
    } else if (strncmp(option, "subtype=", 8) == 0) {
        snprintf(parsed->type, sizeof parsed->type, "fuse.%s", option + 8);
    } else {
        size_t used = strlen(parsed->data);
        snprintf(parsed->data + used, sizeof parsed->data - used, ",%s", option);
    }
}

static int mount_directly(const char *mountpoint, const char *options)
{
    struct stat status;
    struct parsed parsed = {.flags = MS_NOSUID | MS_NODEV, .source = "fuse", .type = "fuse"};
    if (stat(mountpoint, &status) != 0)
        return -errno;
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(parsed.data, sizeof parsed.data, "fd=%d,rootmode=%o,user_id=%u,group_id=%u", fd,
             status.st_mode & S_IFMT, getuid(), getgid());
    char copy[OPTIONS_MAX_BYTES], *rest = copy, *option;
    snprintf(copy, sizeof copy, "%s", options);
    while ((option = strsep(&rest, ",")) != NULL)
        if (*option != '\0')
            take_option(&parsed, option);
    if (mount(parsed.source, mountpoint, parsed.type, parsed.flags, parsed.data) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

static int receive_descriptor(int socket_fd)
{
    char byte;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary.bytes};
    ssize_t got;
    do
        got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (c == NULL || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
        return -EPERM; /* fusermount3 has said why on stderr */
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* Runs fusermount3 with `arguments`; its exit code, or -errno. */
static int run_fusermount(char *const arguments[], int keep_fd)
{
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0) {
        if (keep_fd >= 0)
            fcntl(keep_fd, F_SETFD, 0);
        execvp("fusermount3", arguments);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int mount_by_helper(const char *mountpoint, const char *options)
{
    int pair[2];
    char number[16];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    snprintf(number, sizeof number, "%d", pair[0]);
    setenv("_FUSE_COMMFD", number, 1);
    char *const arguments[] = {"fusermount3", "-o", (char *)options, "--", (char *)mountpoint, NULL};
    int result = run_fusermount(arguments, pair[0]);
    unsetenv("_FUSE_COMMFD");
    close(pair[0]);
    int fd = result == 0 ? receive_descriptor(pair[1]) : result < 0 ? result : result == 127 ? -ENOENT : -EPERM;
    close(pair[1]);
    return fd;
}

int mount_begin(const char *mountpoint, const char *options)
{
    if (strlen(options) > OPTIONS_MAX_BYTES / 2)
        return -E2BIG;
    int fd = geteuid() == 0 ? mount_directly(mountpoint, options) : -EPERM;
    return fd == -EPERM ? mount_by_helper(mountpoint, options) : fd;
}

int mount_end(const char *mountpoint, bool lazy)
{
    if (umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno != EPERM)
        return -errno;
    char *const arguments[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "--", (char *)mountpoint, NULL};
    int result = run_fusermount(arguments, -1);
    return result <= 0 ? result : -EBUSY;
}

void mount_set_readahead(const char *mountpoint, unsigned kibibytes)
{
    struct statx status;
    char path[128];
    if (statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC, 0, &status) != 0)
        return;
    snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", status.stx_dev_major, status.stx_dev_minor);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return;
    fprintf(file, "%u", kibibytes);
    fclose(file);
}
