/*
 * Copying with the CRC-64/NVME of the copied bytes computed on the way, while they are in the CPU's cache.
 *
 * Plain blocking functions without Python. Functions on descriptors return 0 or an errno. After EINTR
 * the same call with the same `progress` goes on where it stopped; after another error the part that
 * `progress` tells has been copied, and of the chunk after it anything may have been.
 */
#ifndef TIERFS_COPY_H
#define TIERFS_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

_Static_assert(sizeof(off_t) == 8, "offsets are of 63 bits: a 64-bit system");

/* Bytes a system call, and between two steps of the checksum. Seen with 128 MiB into ext4's page cache on
 * Zen 3 (512 KiB of L2): 2.2 GB/s with 16 KiB, 4.9 with 256 KiB, 5.4 with 1 MiB, 4.8 in two passes. A pwrite
 * costs 5 us beside its bytes, and that outweighs finding them in L3 instead of L2. */
enum { COPY_CHUNK_BYTES = 1024 * 1024 };

/* Start with {0}, or with .crc = the checksum of what the bytes continue. */
struct copy_progress {
    uint64_t crc;    /* over the first `summed` bytes */
    uint64_t summed; /* bytes */
    uint64_t done;   /* bytes that are copied */
};

/* Copies memory and returns the checksum of what `destination` then holds. The two may overlap. */
uint64_t copy_memory(void *destination, const void *source, size_t size_bytes, uint64_t previous);

/* Writes all of `data` at `offset`. The caller keeps the data unchanged meanwhile. */
int copy_to_file(int fd, const void *data, size_t size_bytes, off_t offset, struct copy_progress *progress);

/* Reads up to `size_bytes` at `offset`, less only at the end of the file. */
int copy_from_file(int fd, void *data, size_t size_bytes, off_t offset, struct copy_progress *progress);

/* Copies up to `size_bytes` between files, less only at the end of the source, through a buffer of
 * COPY_CHUNK_BYTES. EINVAL when the ranges overlap in one file. */
int copy_file_to_file(int fd_in, off_t offset_in, int fd_out, off_t offset_out, uint64_t size_bytes,
                      struct copy_progress *progress);

#endif
