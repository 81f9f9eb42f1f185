/* See copy.h. */
#define _POSIX_C_SOURCE 200809L

#include "copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"

static size_t next_chunk(uint64_t left_bytes)
{
    return left_bytes < COPY_CHUNK_BYTES ? (size_t)left_bytes : COPY_CHUNK_BYTES;
}

uint64_t copy_memory(void *destination, const void *source, size_t size_bytes, uint64_t previous)
{
    uint8_t *to = destination;
    const uint8_t *from = source;
    uintptr_t to_address = (uintptr_t)to, from_address = (uintptr_t)from;
    if (size_bytes == 0)
        return previous;
    if (to_address < from_address + size_bytes && from_address < to_address + size_bytes) {
        memmove(to, from, size_bytes);
        return crc64nvme(previous, to, size_bytes);
    }
    /* fits in L1, where the checksum reads what was just written (6.1 GB/s for 5.3 in two passes; steps of
     * up to 1 MiB differ by less than the noise) */
    const size_t step_bytes = 16 * 1024;
    for (size_t done = 0; done < size_bytes; done += step_bytes) {
        size_t chunk = size_bytes - done < step_bytes ? size_bytes - done : step_bytes;
        memcpy(to + done, from + done, chunk);
        previous = crc64nvme(previous, to + done, chunk);
    }
    return previous;
}

/* All of it, whatever the kernel takes at a time. `*done` tells how far it came, also after an error. */
static int write_fully(int fd, const uint8_t *data, size_t size_bytes, off_t offset, size_t *done)
{
    while (*done < size_bytes) {
        ssize_t count = pwrite(fd, data + *done, size_bytes - *done, offset + (off_t)*done);
        if (count < 0)
            return errno;
        if (count == 0)
            return EIO; /* no file system should, and waiting for it to change its mind could be forever */
        *done += (size_t)count;
    }
    return 0;
}

int copy_to_file(int fd, const void *data, size_t size_bytes, off_t offset, struct copy_progress *progress)
{
    const uint8_t *from = data;
    while (progress->done < size_bytes) {
        if (progress->summed == progress->done) {
            size_t chunk = next_chunk(size_bytes - progress->done);
            progress->crc = crc64nvme(progress->crc, from + progress->summed, chunk);
            progress->summed += chunk;
        }
        size_t written = 0;
        int error = write_fully(fd, from + progress->done, (size_t)(progress->summed - progress->done),
                                offset + (off_t)progress->done, &written);
        progress->done += written;
        if (error)
            return error;
    }
    return 0;
}

int copy_from_file(int fd, void *data, size_t size_bytes, off_t offset, struct copy_progress *progress)
{
    uint8_t *to = data;
    while (progress->done < size_bytes) {
        uint8_t *chunk = to + progress->done;
        ssize_t count = pread(fd, chunk, next_chunk(size_bytes - progress->done), offset + (off_t)progress->done);
        if (count < 0)
            return errno;
        if (count == 0)
            return 0;
        progress->crc = crc64nvme(progress->crc, chunk, (size_t)count);
        progress->done += (uint64_t)count;
        progress->summed = progress->done;
    }
    return 0;
}

static int refuse_overlap(int fd_in, off_t offset_in, int fd_out, off_t offset_out, uint64_t size_bytes)
{
    struct stat in, out;
    if (fstat(fd_in, &in) != 0 || fstat(fd_out, &out) != 0)
        return errno;
    uint64_t distance = offset_in < offset_out ? (uint64_t)(offset_out - offset_in)
                                               : (uint64_t)(offset_in - offset_out);
    return in.st_dev == out.st_dev && in.st_ino == out.st_ino && distance < size_bytes ? EINVAL : 0;
}

int copy_file_to_file(int fd_in, off_t offset_in, int fd_out, off_t offset_out, uint64_t size_bytes,
                      struct copy_progress *progress)
{
    int error = refuse_overlap(fd_in, offset_in, fd_out, offset_out, size_bytes);
    if (error)
        return error;
    uint8_t *buffer = malloc(next_chunk(size_bytes) + 1); /* + 1: malloc(0) may be NULL */
    if (buffer == NULL)
        return ENOMEM;
    while (progress->done < size_bytes) {
        /* a chunk counts only when it is written whole: after EINTR it is read and written again */
        ssize_t count = pread(fd_in, buffer, next_chunk(size_bytes - progress->done), offset_in + (off_t)progress->done);
        if (count <= 0) {
            error = count < 0 ? errno : 0;
            break;
        }
        size_t written = 0;
        error = write_fully(fd_out, buffer, (size_t)count, offset_out + (off_t)progress->done, &written);
        if (error)
            break;
        progress->crc = crc64nvme(progress->crc, buffer, (size_t)count);
        progress->done += (uint64_t)count;
        progress->summed = progress->done;
    }
    free(buffer);
    return error;
}
