#include "hot_table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 1 << 16 };

enum mode { CLOSED, CACHED, PASSTHROUGH };

struct entry {
    struct entry *next;      /* in its bucket */
    struct entry *next_used; /* in the list of hot_drain */
    uint64_t ino, number;
    int fd;         /* -1: not registered, known only because it is open */
    int backing_id; /* 0: none */
    uint32_t flags;
    bool revoking, in_used;
    bool written; /* was open for writing: a mapping may still change it unseen, so Python tells its attributes */
    enum mode mode;
    uint32_t open_here, open_in_python, writers; /* writers: of both */
    uint32_t readers_busy;                       /* preads under way outside the lock */
    struct hot_use use;
    bool attr_known;
    uint64_t attr_until_ns, changes;
    uint64_t renames; /* the table's when the attributes were learnt */
    struct timespec atime_before;
    struct fuse_attr attr;
};

struct hot_table {
    pthread_mutex_t lock;
    int kernel_fd;
    bool passthrough_on;
    int passthrough_state;
    uint64_t last_number;
    uint64_t renames; /* changes that cannot be told from the request whose attributes they touch */
    struct hot_counts counts;
    struct entry *used;
    struct entry *buckets[BUCKETS];
};

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

struct hot_table *hot_new(int kernel_fd)
{
    struct hot_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        table->kernel_fd = kernel_fd;
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

static struct entry **place_of(struct hot_table *table, uint64_t ino)
{
    struct entry **at = &table->buckets[(ino * UINT64_C(0x9E3779B97F4A7C15)) >> 48];
    while (*at != NULL && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static struct entry *entry_of(struct hot_table *table, uint64_t ino)
{
    struct entry **at = place_of(table, ino);
    if (*at == NULL) {
        struct entry *entry = calloc(1, sizeof *entry);
        if (entry != NULL) {
            entry->ino = entry->use.ino = ino;
            entry->number = ++table->last_number;
            entry->fd = -1;
            *at = entry;
        }
    }
    return *at;
}

/* Nothing is known of it any more, unless its uses wait to be drained. */
static void drop_if_unused(struct hot_table *table, uint64_t ino)
{
    struct entry **at = place_of(table, ino);
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
    entry->use.last_use_ns = now_ns(CLOCK_REALTIME);
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

int hot_register(struct hot_table *table, uint64_t ino, int fd, uint32_t flags, uint64_t *fh)
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
        entry->revoking = entry->written = entry->attr_known = false;
        *fh = HOLDER_FH | entry->number;
        table->counts.registered++;
        if (table->passthrough_state == 0)
            (void)backed(table, entry); /* whether it works should be known before it is needed */
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

int hot_revoke(struct hot_table *table, uint64_t ino, uint32_t flags)
{
    int fd = -1, result = 0;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    if (entry == NULL || entry->fd < 0) {
        result = -ENOENT;
    } else if (entry->open_here > 0 || entry->mode == PASSTHROUGH || entry->readers_busy > 0) {
        entry->revoking = entry->revoking || (flags & REVOKE_WAIT) != 0;
        result = -EBUSY;
    } else {
        close_backing(table, entry);
        if (flags & REVOKE_NO_WRITERS)
            result = no_writers(entry->fd);
        if (result == 0) {
            fd = entry->fd;
            entry->fd = -1;
            table->counts.registered--;
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

void hot_revoke_cancel(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    if (entry != NULL)
        entry->revoking = false;
    pthread_mutex_unlock(&table->lock);
}

static void set_passthrough(struct entry *entry, struct fuse_open_out *out)
{
    const uint32_t allowed = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH;
    out->open_flags = (out->open_flags & allowed) | FOPEN_PASSTHROUGH;
    out->backing_id = entry->backing_id;
}

static void set_mode(struct entry *entry, enum mode mode)
{
    struct stat status;
    if (entry->mode == CLOSED && mode == PASSTHROUGH && fstat(entry->fd, &status) == 0)
        entry->atime_before = status.st_atim;
    entry->mode = mode;
}

bool hot_open(struct hot_table *table, uint64_t ino, uint32_t open_flags, struct fuse_open_out *out)
{
    if ((open_flags & O_ACCMODE) != O_RDONLY || (open_flags & O_TRUNC))
        return false;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    bool ours = entry != NULL && entry->fd >= 0 && !entry->revoking;
    if (ours) {
        *out = (struct fuse_open_out){.fh = HOLDER_FH | entry->number, .open_flags = FOPEN_NOFLUSH};
        if (entry->mode != CACHED && backed(table, entry)) {
            set_mode(entry, PASSTHROUGH);
            set_passthrough(entry, out);
        } else {
            set_mode(entry, CACHED);
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
        set_mode(entry, pass ? PASSTHROUGH : CACHED);
        if (pass) {
            set_passthrough(entry, out);
            if (!writes)
                out->open_flags |= FOPEN_NOFLUSH;
        } else {
            out->open_flags &= ~FOPEN_PASSTHROUGH; /* libfuse 3.14 leaves backing_id 0 */
        }
        entry->open_in_python++;
        entry->writers += writes;
        entry->written = entry->written || writes;
        table->counts.open_in_python++;
        if (entry->fd >= 0)
            note_use(table, entry, 1, 0);
    }
    if (result != 0)
        drop_if_unused(table, ino);
    pthread_mutex_unlock(&table->lock);
    return result;
}

void hot_release(struct hot_table *table, uint64_t ino, uint64_t fh, uint32_t open_flags)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    if (entry != NULL) {
        if ((fh & HOLDER_FH) && entry->open_here > 0) {
            entry->open_here--;
            table->counts.open_here--;
        } else if (!(fh & HOLDER_FH) && entry->open_in_python > 0) {
            entry->open_in_python--;
            table->counts.open_in_python--;
            if ((open_flags & O_ACCMODE) != O_RDONLY && entry->writers > 0)
                entry->writers--;
        }
        if (entry->fd >= 0)
            note_use(table, entry, 0, 0);
        if (entry->open_here == 0 && entry->open_in_python == 0)
            entry->mode = CLOSED;
        drop_if_unused(table, ino);
    }
    pthread_mutex_unlock(&table->lock);
}

/* The descriptor for a system call outside the lock; busy_end() after it. */
static struct entry *busy_begin(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
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
    size_t done = 0;
    long result = 0;
    if (offset > INT64_MAX - size_bytes)
        result = -EINVAL;
    while (result == 0 && done < size_bytes) {
        ssize_t got = pread(entry->fd, (char *)buffer + done, size_bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            result = got < 0 ? -errno : 0;
            break;
        }
        done += (size_t)got;
    }
    busy_end(table, entry, done);
    return result < 0 ? result : (long)done;
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

uint64_t hot_note(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    uint64_t note = entry != NULL ? entry->changes + table->renames : UINT64_MAX;
    pthread_mutex_unlock(&table->lock);
    return note;
}

void hot_learn(struct hot_table *table, uint64_t ino, uint64_t note, const struct fuse_attr *attr, uint64_t valid_ns)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    if (entry != NULL && entry->fd >= 0 && attr->ino == ino && note == entry->changes + table->renames) {
        entry->attr = *attr;
        entry->attr_known = true;
        entry->renames = table->renames;
        entry->attr_until_ns = now_ns(CLOCK_MONOTONIC) + valid_ns;
    }
    pthread_mutex_unlock(&table->lock);
}

void hot_changed(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    if (ino == 0) {
        table->renames++;
    } else {
        struct entry *entry = *place_of(table, ino);
        if (entry != NULL) {
            entry->changes++;
            entry->attr_known = false;
        }
    }
    pthread_mutex_unlock(&table->lock);
}

bool hot_attributes(struct hot_table *table, uint64_t ino, struct fuse_attr_out *out)
{
    uint64_t now = now_ns(CLOCK_MONOTONIC);
    struct stat status;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    bool known = entry != NULL && entry->fd >= 0 && entry->attr_known && !entry->written &&
                 entry->renames == table->renames && entry->attr_until_ns > now;
    if (known) {
        uint64_t left_ns = entry->attr_until_ns - now;
        *out = (struct fuse_attr_out){.attr_valid = left_ns / 1000000000,
                                      .attr_valid_nsec = (uint32_t)(left_ns % 1000000000),
                                      .attr = entry->attr};
        /* the kernel moved it for a passthrough read: the time of the download that made the file is no access */
        if (entry->mode == PASSTHROUGH && fstat(entry->fd, &status) == 0 &&
            (status.st_atim.tv_sec != entry->atime_before.tv_sec ||
             status.st_atim.tv_nsec != entry->atime_before.tv_nsec)) {
            out->attr.atime = (uint64_t)status.st_atim.tv_sec;
            out->attr.atimensec = (uint32_t)status.st_atim.tv_nsec;
        }
    }
    pthread_mutex_unlock(&table->lock);
    return known;
}

bool hot_lacks_capabilities(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *place_of(table, ino);
    bool lacks = entry != NULL && entry->fd >= 0 && (entry->flags & HOT_NO_CAPABILITIES) && entry->writers == 0;
    pthread_mutex_unlock(&table->lock);
    return lacks;
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
