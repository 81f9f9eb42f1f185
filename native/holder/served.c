#include "served.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "whole_io.h"

enum { BUCKETS = 4096, TELL_SHIFT = 20 /* of each MiB that reads come to */ };

struct file {
    struct file *next;
    uint64_t ino;
    int fd;
    uint32_t flags;
    uint64_t limit_bytes, told; /* told: the part that the last told read was in, and 1 */
    struct served_range *ranges; /* sorted, apart from each other */
    size_t count, capacity;
    size_t busy; /* reads and writes under way */
    bool leaving;
    uint32_t tag; /* of the withdrawal; 0: nobody asks */
};

struct served_table {
    pthread_mutex_t lock;
    void (*gone)(void *context, uint32_t tag);
    void *context;
    uint64_t budget_bytes;
    struct served_counts counts;
    struct file *buckets[BUCKETS];
};

struct served_table *served_new(void (*gone)(void *context, uint32_t tag), void *context)
{
    struct served_table *table = calloc(1, sizeof *table);
    if (table != NULL) {
        pthread_mutex_init(&table->lock, NULL);
        table->gone = gone;
        table->context = context;
    }
    return table;
}

static struct file **place_of(struct served_table *table, uint64_t ino)
{
    struct file **at = &table->buckets[ino % BUCKETS];
    while (*at != NULL && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static void dispose(struct file *file)
{
    if (file == NULL)
        return;
    close(file->fd);
    free(file->ranges);
    free(file);
}

/* Takes it out of the table. Returns it when nobody uses it, to be disposed of without the lock. */
static struct file *retire(struct served_table *table, struct file **at, uint32_t tag)
{
    struct file *file = *at;
    if (file == NULL)
        return NULL;
    *at = file->next;
    table->counts.files--;
    file->leaving = true;
    file->tag = tag;
    return file->busy == 0 ? file : NULL;
}

/* What is known of a file that is served already gives way; reads and writes under way keep the old description. */
static void renew(struct file *file, struct file *renewed)
{
    struct served_range *ranges = file->ranges;
    dup2(renewed->fd, file->fd);
    file->flags = renewed->flags;
    file->limit_bytes = renewed->limit_bytes;
    file->ranges = renewed->ranges;
    file->count = renewed->count;
    file->capacity = renewed->capacity;
    renewed->ranges = ranges;
}

static bool in_order(const struct served_range *ranges, size_t count)
{
    uint64_t after = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].start >= ranges[i].stop || (i > 0 && ranges[i].start <= after))
            return false;
        after = ranges[i].stop;
    }
    return true;
}

int served_put(struct served_table *table, uint64_t ino, int fd, uint32_t flags, uint64_t limit_bytes,
               const struct served_range *ranges, size_t count)
{
    struct file *file = calloc(1, sizeof *file);
    struct served_range *copy = malloc((count + 1) * sizeof *copy);
    bool valid = in_order(ranges, count) && (!(flags & SERVED_WRITABLE) || (flags & SERVED_WHOLE));
    if (file == NULL || copy == NULL || !valid) {
        free(file);
        free(copy);
        close(fd);
        return valid ? -ENOMEM : -EINVAL;
    }
    if (count > 0)
        memcpy(copy, ranges, count * sizeof *copy);
    *file = (struct file){.ino = ino, .fd = fd, .flags = flags, .limit_bytes = limit_bytes,
                          .ranges = copy, .count = count, .capacity = count + 1};
    pthread_mutex_lock(&table->lock);
    struct file **at = place_of(table, ino), *spare = NULL;
    if (*at != NULL) {
        renew(*at, file);
        spare = file;
    } else {
        *at = file;
        table->counts.files++;
    }
    pthread_mutex_unlock(&table->lock);
    dispose(spare);
    return 0;
}

/* The first range that ends at or behind `offset`. */
static size_t find(const struct file *file, uint64_t offset)
{
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->ranges[middle].stop < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* False: no memory, and then the range stays unknown, which only costs a question. */
static bool add(struct file *file, uint64_t start, uint64_t stop)
{
    size_t first = find(file, start), last = first;
    while (last < file->count && file->ranges[last].start <= stop)
        last++;
    if (first < last) { /* it touches [first, last): they become one */
        if (file->ranges[first].start < start)
            start = file->ranges[first].start;
        if (file->ranges[last - 1].stop > stop)
            stop = file->ranges[last - 1].stop;
    } else if (file->count == file->capacity) {
        size_t capacity = file->capacity * 2;
        struct served_range *grown = realloc(file->ranges, capacity * sizeof *grown);
        if (grown == NULL)
            return false;
        file->ranges = grown;
        file->capacity = capacity;
    }
    size_t kept = file->count - last;
    memmove(file->ranges + first + 1, file->ranges + last, kept * sizeof *file->ranges);
    file->ranges[first] = (struct served_range){start, stop};
    file->count = first + 1 + kept;
    return true;
}

void served_add(struct served_table *table, uint64_t ino, uint64_t start, uint64_t stop)
{
    pthread_mutex_lock(&table->lock);
    struct file *file = *place_of(table, ino);
    if (file != NULL && stop == UINT64_MAX)
        file->flags |= SERVED_WHOLE;
    else if (file != NULL && start < stop)
        (void)add(file, start, stop);
    pthread_mutex_unlock(&table->lock);
}

bool served_withdraw(struct served_table *table, uint64_t ino, uint32_t tag)
{
    pthread_mutex_lock(&table->lock);
    struct file **at = place_of(table, ino);
    bool known = *at != NULL;
    struct file *unused = retire(table, at, tag);
    pthread_mutex_unlock(&table->lock);
    dispose(unused);
    return !known || unused != NULL;
}

void served_clear(struct served_table *table)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        struct file *idle;
        do {
            pthread_mutex_lock(&table->lock);
            bool more = table->buckets[i] != NULL;
            idle = retire(table, &table->buckets[i], 0);
            pthread_mutex_unlock(&table->lock);
            dispose(idle);
            if (!more)
                break;
        } while (true);
    }
}

int served_descriptor(struct served_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    const struct file *file = *place_of(table, ino);
    int fd = file != NULL && (file->flags & SERVED_WHOLE) ? fcntl(file->fd, F_DUPFD_CLOEXEC, 0) : -ENOENT;
    pthread_mutex_unlock(&table->lock);
    return fd;
}

void served_budget(struct served_table *table, uint64_t budget_bytes)
{
    pthread_mutex_lock(&table->lock);
    table->budget_bytes = budget_bytes;
    pthread_mutex_unlock(&table->lock);
}

static void leave(struct served_table *table, struct file *file)
{
    pthread_mutex_lock(&table->lock);
    bool last = --file->busy == 0 && file->leaving;
    pthread_mutex_unlock(&table->lock);
    if (!last)
        return;
    uint32_t tag = file->tag;
    dispose(file);
    if (tag != 0)
        table->gone(table->context, tag);
}

static bool covers(const struct file *file, uint64_t start, uint64_t stop)
{
    size_t i = find(file, start + 1);
    return i < file->count && file->ranges[i].start <= start && file->ranges[i].stop >= stop;
}

/* Where the bytes are, and whether Python should hear of the read. Called with the lock held. */
static enum served_outcome look(struct file *file, uint64_t offset, uint64_t stop, bool *tell)
{
    *tell = false;
    if (file->flags & SERVED_WHOLE)
        return SERVED_DONE;
    if (offset < stop && !covers(file, offset, stop))
        return SERVED_ABSENT;
    *tell = file->told != (stop >> TELL_SHIFT) + 1;
    file->told = (stop >> TELL_SHIFT) + 1;
    return SERVED_DONE;
}

enum served_outcome served_read(struct served_table *table, uint64_t ino, void *buffer, size_t size_bytes,
                                uint64_t offset, size_t *got, bool *tell)
{
    struct stat status;
    if (offset > INT64_MAX - size_bytes)
        return SERVED_NOT;
    pthread_mutex_lock(&table->lock);
    struct file *file = *place_of(table, ino);
    if (file != NULL)
        file->busy++;
    pthread_mutex_unlock(&table->lock);
    if (file == NULL)
        return SERVED_NOT;

    enum served_outcome outcome = SERVED_NOT;
    if (fstat(file->fd, &status) == 0) { /* a backing file has the size of the file, whatever of it is present */
        uint64_t end = (uint64_t)status.st_size, stop = offset + size_bytes < end ? offset + size_bytes : end;
        pthread_mutex_lock(&table->lock);
        outcome = file->leaving ? SERVED_NOT : look(file, offset, stop, tell);
        if (outcome == SERVED_DONE) {
            table->counts.reads++;
            table->counts.read_bytes += stop > offset ? stop - offset : 0;
        }
        pthread_mutex_unlock(&table->lock);
    }
    if (outcome == SERVED_DONE) {
        ssize_t done = pread_whole(file->fd, buffer, size_bytes, offset);
        *got = done < 0 ? 0 : (size_t)done;
        if (done < 0)
            outcome = SERVED_NOT;
    }
    leave(table, file);
    return outcome;
}

/* How much of [offset, offset + size_bytes) lies before the end of the file. Negative: -errno. */
static long within_file(int fd, uint64_t offset, size_t size_bytes)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return -errno;
    uint64_t end = (uint64_t)status.st_size, left = offset < end ? end - offset : 0;
    return (long)(left < size_bytes ? left : size_bytes);
}

enum served_outcome served_write(struct served_table *table, uint64_t ino, const void *data, size_t size_bytes,
                                 uint64_t offset, bool writeback)
{
    pthread_mutex_lock(&table->lock);
    struct file *file = *place_of(table, ino);
    bool takes = file != NULL && (file->flags & SERVED_WRITABLE) && size_bytes <= table->budget_bytes &&
                 offset <= file->limit_bytes && size_bytes <= file->limit_bytes - offset;
    if (takes) {
        file->busy++;
        table->budget_bytes -= size_bytes;
        table->counts.writes++;
        table->counts.write_bytes += size_bytes;
    }
    pthread_mutex_unlock(&table->lock);
    if (!takes)
        return SERVED_NOT;

    long kept_bytes = writeback ? within_file(file->fd, offset, size_bytes) : (long)size_bytes;
    int failed = kept_bytes < 0 ? (int)kept_bytes : pwrite_whole(file->fd, data, (size_t)kept_bytes, offset);
    leave(table, file);
    return failed == 0 ? SERVED_DONE : SERVED_NOT;
}

bool served_takes_flush(struct served_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct file *file = *place_of(table, ino);
    bool takes = file != NULL && !(file->flags & SERVED_FORWARD_FLUSH);
    pthread_mutex_unlock(&table->lock);
    return takes;
}

bool served_lacks_capabilities(struct served_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct file *file = *place_of(table, ino);
    bool lacks = file != NULL && (file->flags & SERVED_NO_CAPABILITIES);
    pthread_mutex_unlock(&table->lock);
    return lacks;
}

void served_xattr_changed(struct served_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct file *file = *place_of(table, ino);
    if (file != NULL)
        file->flags &= ~(uint32_t)SERVED_NO_CAPABILITIES;
    pthread_mutex_unlock(&table->lock);
}

struct served_counts served_count(struct served_table *table)
{
    pthread_mutex_lock(&table->lock);
    struct served_counts counts = table->counts;
    pthread_mutex_unlock(&table->lock);
    return counts;
}
