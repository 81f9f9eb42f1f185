#include <sys/stat.h>

#include "clocks.h"
#include "hot_entry.h"

/* What the attributes depend on. Passthrough writes show in the backing file alone, by its ctime. */
static uint64_t note_of(struct hot_table *table, struct entry *entry)
{
    struct stat status;
    uint64_t note = entry->changes + table->changes;
    if (entry->written && entry->fd >= 0 && fstat(entry->fd, &status) == 0)
        note ^= timespec_ns(status.st_ctim) * UINT64_C(0x9E3779B97F4A7C15);
    return note;
}

uint64_t hot_note(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    uint64_t note = entry != NULL ? note_of(table, entry) : UINT64_MAX;
    pthread_mutex_unlock(&table->lock);
    return note;
}

/* The kernel moves it for a passthrough read, where nobody sees it. */
static void put_access_time(struct entry *entry, struct fuse_attr *attr)
{
    struct stat status;
    if (fstat(entry->fd, &status) == 0 && (status.st_atim.tv_sec != entry->atime_told.tv_sec ||
                                           status.st_atim.tv_nsec != entry->atime_told.tv_nsec)) {
        attr->atime = (uint64_t)status.st_atim.tv_sec;
        attr->atimensec = (uint32_t)status.st_atim.tv_nsec;
    }
}

void hot_learn(struct hot_table *table, uint64_t ino, uint64_t note, struct fuse_attr *attr, uint64_t valid_ns)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry != NULL && entry->fd >= 0 && attr->ino == ino) {
        entry->attr = *attr;
        entry->attr_known = true;
        entry->attr_note = note;
        entry->attr_until_ns = monotonic_ns() + valid_ns;
        put_access_time(entry, attr);
    }
    pthread_mutex_unlock(&table->lock);
}

void hot_access_told(struct hot_table *table, uint64_t ino)
{
    struct stat status;
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    if (entry != NULL && entry->fd >= 0 && fstat(entry->fd, &status) == 0)
        entry->atime_told = status.st_atim;
    pthread_mutex_unlock(&table->lock);
}

void hot_changed(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    if (ino == 0) {
        table->changes++;
    } else {
        struct entry *entry = *hot_place_of(table, ino);
        if (entry != NULL)
            entry->changes++;
    }
    pthread_mutex_unlock(&table->lock);
}

bool hot_attributes(struct hot_table *table, uint64_t ino, struct fuse_attr_out *out)
{
    uint64_t now = monotonic_ns();
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    bool known = entry != NULL && entry->fd >= 0 && entry->attr_known && entry->attr_until_ns > now &&
                 entry->attr_note == note_of(table, entry);
    if (known) {
        uint64_t left_ns = entry->attr_until_ns - now;
        *out = (struct fuse_attr_out){.attr_valid = left_ns / 1000000000,
                                      .attr_valid_nsec = (uint32_t)(left_ns % 1000000000),
                                      .attr = entry->attr};
        put_access_time(entry, &out->attr);
    }
    pthread_mutex_unlock(&table->lock);
    return known;
}

bool hot_lacks_capabilities(struct hot_table *table, uint64_t ino)
{
    pthread_mutex_lock(&table->lock);
    struct entry *entry = *hot_place_of(table, ino);
    bool lacks = entry != NULL && entry->fd >= 0 && (entry->flags & HOT_NO_CAPABILITIES) && entry->writers == 0;
    pthread_mutex_unlock(&table->lock);
    return lacks;
}
