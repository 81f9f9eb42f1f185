/* read(2) and write(2) of all bytes: signals interrupt them, and the kernel may take less than it was given. */
#ifndef TIERFS_HOLDER_WHOLE_IO_H
#define TIERFS_HOLDER_WHOLE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes read, fewer than asked only at the end of the file; or -errno, also if an earlier piece was read. */
ssize_t pread_whole(int fd, void *buffer, size_t size_bytes, uint64_t offset);

/* 0, or -errno, and then some of it may be written. */
int pwrite_whole(int fd, const void *data, size_t size_bytes, uint64_t offset);

/* As pwrite_whole, where the descriptor stands. */
int write_whole(int fd, const void *data, size_t size_bytes);

#endif
