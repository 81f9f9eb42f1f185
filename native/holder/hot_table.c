#include "hot_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "brake.h"
#include "clocks.h"
#include "whole_io.h"

struct hot_table *hot_new(int kernel_fd, struct brake *brake)
{
    struct hot_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        table->kernel_fd = kernel_fd;
        table->brake = brake;
        pthread_mutex_init(&table->lock, NULL);
    }
    return table;
}

void hot_set_passthrough(struct hot_table *table, bool on)
{
    pthread_mutex_lock(&table->lock);
    table->passthrough_on = on;
    pthread_mutex_unlock(&table->lock);
}

int hot_passthrough_state(struct hot_table *table)
{
    pthread_mutex_lock(&table->lock);
    int state = table->passthrough_state;
    pthread_mutex_unlock(&table->lock);
    return state;
}

struct entry **hot_place_of(struct hot_table *table, uint64_t ino)
{
    struct entry **at = &table->buckets[(ino * UINT64_C(0x9E3779B97F4A7C15)) >> 48];
    while (*at != NULL && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static struct entry *entry_of(struct hot_table *table, uint64_t ino)
{
    struct entry **at = hot_place_of(table, ino);
    if (*at == NULL) {
        struct entry *entry = calloc(1, sizeof *entry);
        if (entry != NULL) {
            entry->ino = entry->use.ino = ino;
            entry->fd = -1;
            *at = entry;
        }
    }
    return *at;
}

/* Nothing is known of it any more, unless its uses wait to be drained. */
static void drop_if_unused(struct hot_table *table, uint64_t ino)
{
    struct entry **at = hot_place_of(table, ino);
    struct entry *entry = *at;
    if (entry != NULL && entry->fd < 0 && entry->mode == CLOSED && !entry->in_used && entry->readers_busy == 0) {
        *at = entry->next;
        free(entry);
    }
}

static void note_use(struct hot_table *table, struct entry *entry, uint64_t opens, uint64_t bytes)
{
    entry->use.opens += opens;
    entry->use.bytes += bytes;
    entry->use.last_use_ns = wall_clock_ns();
    if (!entry->in_used) {
        entry->in_used = true;
        entry->next_used = table->used;
        table->used = entry;
    }
}

/* The kernel refuses nobody's O_RDONLY descriptor, and a writable one would itself count as a writer. */
static int read_only(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    if ((flags & O_ACCMODE) == O_RDONLY)
        return fd;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reopened = open(path, O_RDONLY | O_CLOEXEC);
    int result = reopened < 0 ? -errno : reopened;
    close(fd);
    return result;
}

/* True if the entry has a backing id for passthrough, now. */
static bool backed(struct hot_table *table, struct entry *entry)
{
    if (entry->fd < 0 || !table->passthrough_on)
        return false;
    if (entry->backing_id != 0)
        return true;
    struct fuse_backing_map map = {.fd = entry->fd};
    int id = ioctl(table->kernel_fd, FUSE_DEV_IOC_BACKING_OPEN, &map);
    if (id <= 0) {
        table->passthrough_state = -(id < 0 ? errno : EIO);
        /* without the privilege or with a cache on a stacked file system it will never work: do not try each time */
        table->passthrough_on = errno != EPERM && errno != ELOOP && errno != ENOTTY && errno != EOPNOTSUPP;
        return false;
    }
    table->passthrough_state = 1;
    entry->backing_id = id;
    return true;
}

int hot_register(struct hot_table *table, uint64_t ino, int fd, uint32_t flags)
{
    struct stat status;
    int own = read_only(fd);
    if (own < 0) {
        return own;
    }
    int result = 0;
    if (fstat(own, &status) != 0 || !S_ISREG(status.st_mode))
        result = -EINVAL;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = result == 0 ? entry_of(table, ino) : NULL;
    if (result == 0 && entry == NULL)
        result = -ENOMEM;
    else if (result == 0 && entry->fd >= 0)
        result = -EEXIST;
    if (result == 0) {
        entry->fd = own;
        entry->flags = flags;
        entry->revoking = entry->discarded = entry->written = entry->attr_known = false;
        entry->atime_told = status.st_atim; /* of the download that made the file: no access */
        table->counts.registered++;
        if (table->passthrough_state == 0)
            (void)backed(table, entry); /* whether it works should be known before it is needed */
        brake_try(table->brake, own);
    }
    pthread_mutex_unlock(&table->lock);
    if (result != 0)
        close(own);
    return result;
}

/* A read lease is refused while the file is open for writing anywhere or mapped writable. */
static int no_writers(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return errno == EAGAIN ? -EAGAIN : -errno;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return 0;
}

static void close_backing(struct hot_table *table, struct entry *entry)
{
    if (entry->backing_id != 0) {
        uint32_t id = (uint32_t)entry->backing_id;
        ioctl(table->kernel_fd, FUSE_DEV_IOC_BACKING_CLOSE, &id);
        entry->backing_id = 0;
    }
}

static bool is_in_use(const struct entry *entry)
{
    return entry->open_here > 0 || entry->mode == PASSTHROUGH || entry->readers_busy > 0;
}

/* It is not registered any more; the descriptor is closed without the lock. */
static int take_descriptor(struct hot_table *table, struct entry *entry)
{
    int fd = entry->fd;
    close_backing(table, entry);
    entry->fd = -1;
    entry->discarded = false;
    table->counts.registered--;
    return fd;
}

int hot_revoke(struct hot_table *table, uint64_t ino, uint32_t flags)
{
    int fd = -1, result = 0;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry == NULL || entry->fd < 0) {
        result = -ENOENT;
    } else if (is_in_use(entry)) {
        entry->revoking = entry->revoking || (flags & REVOKE_WAIT) != 0;
        result = -EBUSY;
    } else {
        close_backing(table, entry);
        if (flags & REVOKE_NO_WRITERS)
            result = no_writers(entry->fd);
        if (result == 0) {
            fd = take_descriptor(table, entry);
            drop_if_unused(table, ino);
        } else {
            entry->revoking = entry->revoking || (flags & REVOKE_WAIT) != 0;
        }
    }
    pthread_mutex_unlock(&table->lock);
    if (fd >= 0)
        close(fd);
    return result;
}

void hot_discard(struct hot_table *table, uint64_t ino)
{
    int fd = -1;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry != NULL && entry->fd >= 0) {
        entry->revoking = entry->discarded = true;
        if (!is_in_use(entry))
            fd = take_descriptor(table, entry);
        drop_if_unused(table, ino);
    }
    pthread_mutex_unlock(&table->lock);
    if (fd >= 0)
        close(fd);
}

void hot_revoke_cancel(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry != NULL)
        entry->revoking = entry->discarded;
    pthread_mutex_unlock(&table->lock);
}

static void set_passthrough(struct entry *entry, struct fuse_open_out *out)
{
    const uint32_t allowed = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH;
    out->open_flags = (out->open_flags & allowed) | FOPEN_PASSTHROUGH;
    out->backing_id = entry->backing_id;
}

static void mark(struct hot_table *table, struct entry *entry, bool on)
{
    if (on && !entry->marked)
        brake_mark(table->brake, entry->fd, !table->braking);
    else if (!on && entry->marked)
        brake_unmark(table->brake, entry->fd);
    entry->marked = on;
}

void hot_brake(struct hot_table *table, bool on)
{
    pthread_mutex_lock(&table->lock);
    table->braking = on;
    if (on)
        brake_switch(table->brake, true);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct entry *entry = table->buckets[i]; entry != NULL; entry = entry->next)
            if (entry->marked)
                brake_ignore(table->brake, entry->fd, !on);
    if (!on)
        brake_switch(table->brake, false);
    pthread_mutex_unlock(&table->lock);
}

bool hot_open(struct hot_table *table, uint64_t ino, uint32_t open_flags, struct fuse_open_out *out)
{
    if ((open_flags & O_ACCMODE) != O_RDONLY || (open_flags & O_TRUNC))
        return false;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    bool ours = entry != NULL && entry->fd >= 0 && !entry->revoking;
    if (ours) {
        *out = (struct fuse_open_out){.fh = HOLDER_FH | ino, .open_flags = FOPEN_NOFLUSH};
        if (entry->mode != CACHED && backed(table, entry)) {
            entry->mode = PASSTHROUGH;
            set_passthrough(entry, out);
        } else {
            entry->mode = CACHED;
            out->open_flags |= FOPEN_KEEP_CACHE;
        }
        entry->open_here++;
        table->counts.open_here++;
        note_use(table, entry, 1, 0);
    }
    pthread_mutex_unlock(&table->lock);
    return ours;
}

int hot_opened(struct hot_table *table, uint64_t ino, uint32_t open_flags, struct fuse_open_out *out)
{
    bool writes = (open_flags & O_ACCMODE) != O_RDONLY;
    int result = 0;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = entry_of(table, ino);
    if (entry == NULL) {
        result = -ENOMEM;
    } else if (writes && entry->mode == PASSTHROUGH && !(entry->flags & HOT_WRITABLE)) {
        result = -ETXTBSY;
    } else {
        bool pass = entry->mode == PASSTHROUGH ||
                    (entry->mode == CLOSED && !entry->revoking && !(out->open_flags & FOPEN_DIRECT_IO) &&
                     (!writes || (entry->flags & HOT_WRITABLE)) && backed(table, entry));
        entry->mode = pass ? PASSTHROUGH : CACHED;
        if (pass) {
            set_passthrough(entry, out);
            if (writes)
                mark(table, entry, true);
            else
                out->open_flags |= FOPEN_NOFLUSH;
        } else {
            out->open_flags &= ~FOPEN_PASSTHROUGH; /* libfuse 3.14 leaves backing_id 0 */
        }
        entry->open_in_python++;
        entry->writers += writes;
        entry->written = entry->written || writes;
        table->counts.open_in_python++;
        if (entry->fd >= 0)
            note_use(table, entry, 0, 0); /* Python has counted this open */
    }
    if (result != 0)
        drop_if_unused(table, ino);
    pthread_mutex_unlock(&table->lock);
    return result;
}

void hot_release(struct hot_table *table, uint64_t ino, uint64_t fh, uint32_t open_flags)
{
    int fd = -1;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry != NULL) {
        if ((fh & HOLDER_FH) && entry->open_here > 0) {
            entry->open_here--;
            table->counts.open_here--;
        } else if (!(fh & HOLDER_FH) && entry->open_in_python > 0) {
            entry->open_in_python--;
            table->counts.open_in_python--;
            if ((open_flags & O_ACCMODE) != O_RDONLY && entry->writers > 0)
                entry->writers--;
            if (entry->writers == 0)
                mark(table, entry, false);
        }
        if (entry->fd >= 0)
            note_use(table, entry, 0, 0);
        if (entry->open_here == 0 && entry->open_in_python == 0)
            entry->mode = CLOSED;
        if (entry->discarded && !is_in_use(entry))
            fd = take_descriptor(table, entry);
        drop_if_unused(table, ino);
    }
    pthread_mutex_unlock(&table->lock);
    if (fd >= 0)
        close(fd);
}

/* The descriptor for a system call outside the lock; busy_end() after it. */
static struct entry *busy_begin(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry != NULL && entry->fd < 0)
        entry = NULL;
    if (entry != NULL)
        entry->readers_busy++;
    pthread_mutex_unlock(&table->lock);
    return entry;
}

static void busy_end(struct hot_table *table, struct entry *entry, uint64_t bytes)
{
    pthread_mutex_lock(&table->lock);
    entry->readers_busy--;
    note_use(table, entry, 0, bytes);
    pthread_mutex_unlock(&table->lock);
}

long hot_read(struct hot_table *table, uint64_t ino, void *buffer, size_t size_bytes, uint64_t offset)
{
    struct entry *entry = busy_begin(table, ino);
    if (entry == NULL)
        return -EBADF;
    ssize_t done = pread_whole(entry->fd, buffer, size_bytes, offset);
    busy_end(table, entry, done < 0 ? 0 : (size_t)done);
    return done;
}

long long hot_lseek(struct hot_table *table, uint64_t ino, uint64_t offset, uint32_t whence)
{
    struct entry *entry = busy_begin(table, ino);
    if (entry == NULL)
        return -EBADF;
    long long result = -EINVAL;
    if (offset <= INT64_MAX && (whence == SEEK_DATA || whence == SEEK_HOLE)) {
        result = lseek(entry->fd, (off_t)offset, (int)whence);
        if (result < 0)
            result = -errno;
    }
    busy_end(table, entry, 0);
    return result;
}

size_t hot_drain(struct hot_table *table, struct hot_use *uses, size_t capacity, bool *more)
{
    size_t count = 0;
    pthread_mutex_lock(&table->lock);
    while (count < capacity && table->used != NULL) {
        struct entry *entry = table->used;
        table->used = entry->next_used;
        entry->in_used = false;
        uses[count++] = entry->use;
        entry->use.opens = entry->use.bytes = 0;
        drop_if_unused(table, entry->ino);
    }
    *more = table->used != NULL;
    pthread_mutex_unlock(&table->lock);
    return count;
}

struct hot_counts hot_count(struct hot_table *table)
{
    pthread_mutex_lock(&table->lock);
    struct hot_counts counts = table->counts;
    pthread_mutex_unlock(&table->lock);
    return counts;
}
