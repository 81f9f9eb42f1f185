#include "whole_io.h"

#include <errno.h>
#include <unistd.h>

ssize_t pread_whole(int fd, void *buffer, size_t size_bytes, uint64_t offset)
{
    size_t done = 0;
    if (offset > INT64_MAX - size_bytes)
        return -EINVAL;
    while (done < size_bytes) {
        ssize_t got = pread(fd, (char *)buffer + done, size_bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* After one write(2): 0, go on, or -errno. */
static int taken(ssize_t put, size_t *done)
{
    if (put < 0)
        return errno == EINTR ? 0 : -errno;
    *done += (size_t)put;
    return put == 0 ? -EIO : 0;
}

int pwrite_whole(int fd, const void *data, size_t size_bytes, uint64_t offset)
{
    size_t done = 0;
    int result = offset > INT64_MAX - size_bytes ? -EINVAL : 0;
    while (result == 0 && done < size_bytes)
        result = taken(pwrite(fd, (const char *)data + done, size_bytes - done, (off_t)(offset + done)), &done);
    return result;
}

int write_whole(int fd, const void *data, size_t size_bytes)
{
    size_t done = 0;
    int result = 0;
    while (result == 0 && done < size_bytes)
        result = taken(write(fd, (const char *)data + done, size_bytes - done), &done);
    return result;
}
