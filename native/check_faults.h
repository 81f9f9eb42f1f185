/* pread, pwrite and write that fail as they may, for the drivers of the pure parts: check.sh links with --wrap. */
#ifndef TIERFS_CHECK_FAULTS_H
#define TIERFS_CHECK_FAULTS_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "check.h"

/* What the next calls of pread, pwrite and write do wrong. */
static struct {
    bool on;                /* a call in three is interrupted, one in three is short */
    int writes_before_full; /* then ENOSPC; -1: never */
    int interrupted;        /* how often */
    int shortened;
} fault = {.writes_before_full = -1};

ssize_t __real_pread(int fd, void *data, size_t size_bytes, off_t offset);
ssize_t __real_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size_bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset);
ssize_t __real_write(int fd, const void *data, size_t size_bytes);
ssize_t __wrap_write(int fd, const void *data, size_t size_bytes);

/* False: interrupted. Else perhaps a smaller size. */
static bool pass(size_t *size_bytes)
{
    if (!fault.on)
        return true;
    size_t dice = random_below(3);
    if (dice == 0) {
        fault.interrupted++;
        errno = EINTR;
        return false;
    }
    if (dice == 1 && *size_bytes > 1) {
        fault.shortened++;
        *size_bytes = 1 + random_below(*size_bytes - 1);
    }
    return true;
}

ssize_t __wrap_pread(int fd, void *data, size_t size_bytes, off_t offset)
{
    return pass(&size_bytes) ? __real_pread(fd, data, size_bytes, offset) : -1;
}

static bool pass_write(size_t *size_bytes)
{
    if (fault.writes_before_full == 0) {
        errno = ENOSPC;
        return false;
    }
    if (fault.writes_before_full > 0)
        fault.writes_before_full--;
    return pass(size_bytes);
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t size_bytes, off_t offset)
{
    return pass_write(&size_bytes) ? __real_pwrite(fd, data, size_bytes, offset) : -1;
}

ssize_t __wrap_write(int fd, const void *data, size_t size_bytes)
{
    return pass_write(&size_bytes) ? __real_write(fd, data, size_bytes) : -1;
}

static int temporary_file(void)
{
    char path[] = "tierfs-check-XXXXXX";
    int fd = mkstemp(path);
    REQUIRE(fd >= 0 && unlink(path) == 0, "%s", strerror(errno));
    return fd;
}

#endif
