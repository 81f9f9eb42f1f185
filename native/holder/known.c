#include "known.h"

#include <pthread.h>
#include <stdlib.h>

#include "whole_io.h"

enum { FIRST_CAPACITY = 1024 };

/* Open addressing without tombstones; `kind` 0: free. At most half of the places are taken. */
struct known {
    pthread_mutex_t lock;
    struct known_record *records;
    size_t count, capacity;
};

struct known *known_new(void)
{
    struct known *known = calloc(1, sizeof *known);
    if (known == NULL)
        return NULL;
    known->capacity = FIRST_CAPACITY;
    known->records = calloc(known->capacity, sizeof *known->records);
    if (known->records == NULL) {
        free(known);
        return NULL;
    }
    pthread_mutex_init(&known->lock, NULL);
    return known;
}

static size_t home_of(const struct known *known, uint32_t kind, uint64_t id)
{
    return (size_t)(((id + kind) * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (known->capacity - 1);
}

/* Where it is, or the free place where it would be. */
static struct known_record *find(struct known *known, uint32_t kind, uint64_t id)
{
    size_t at = home_of(known, kind, id);
    while (known->records[at].kind != 0 && (known->records[at].kind != kind || known->records[at].id != id))
        at = (at + 1) & (known->capacity - 1);
    return &known->records[at];
}

static bool grow(struct known *known)
{
    struct known_record *old = known->records;
    size_t old_capacity = known->capacity;
    struct known_record *grown = calloc(old_capacity * 2, sizeof *grown);
    if (grown == NULL)
        return false;
    known->records = grown;
    known->capacity = old_capacity * 2;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].kind != 0)
            *find(known, old[i].kind, old[i].id) = old[i];
    free(old);
    return true;
}

/* Those behind it that it had pushed on move up. */
static void take_out(struct known *known, struct known_record *record)
{
    size_t mask = known->capacity - 1, hole = (size_t)(record - known->records);
    for (size_t at = (hole + 1) & mask; known->records[at].kind != 0; at = (at + 1) & mask) {
        size_t home = home_of(known, known->records[at].kind, known->records[at].id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            known->records[hole] = known->records[at];
            hole = at;
        }
    }
    known->records[hole] = (struct known_record){0};
    known->count--;
}

/* With the lock held: its record, made if it is not there; NULL: no memory. */
static struct known_record *record_of(struct known *known, uint32_t kind, uint64_t id)
{
    struct known_record *record = find(known, kind, id);
    if (record->kind != 0)
        return record;
    if ((known->count + 1) * 2 > known->capacity) {
        if (!grow(known))
            return NULL;
        record = find(known, kind, id);
    }
    *record = (struct known_record){.kind = kind, .id = id};
    known->count++;
    return record;
}

void known_looked_up(struct known *known, uint64_t ino)
{
    pthread_mutex_lock(&known->lock);
    struct known_record *record = record_of(known, KNOWN_LOOKUPS, ino);
    if (record != NULL)
        record->value++;
    pthread_mutex_unlock(&known->lock);
}

void known_forgotten(struct known *known, uint64_t ino, uint64_t lookups)
{
    pthread_mutex_lock(&known->lock);
    struct known_record *record = find(known, KNOWN_LOOKUPS, ino);
    if (record->kind != 0 && record->value > lookups)
        record->value -= lookups;
    else if (record->kind != 0)
        take_out(known, record);
    pthread_mutex_unlock(&known->lock);
}

void known_opened(struct known *known, enum known_kind kind, uint64_t fh, uint64_t ino, uint32_t flags)
{
    pthread_mutex_lock(&known->lock);
    struct known_record *record = record_of(known, kind, fh);
    if (record != NULL) {
        record->value = ino;
        record->flags = flags;
    }
    pthread_mutex_unlock(&known->lock);
}

void known_released(struct known *known, enum known_kind kind, uint64_t fh)
{
    pthread_mutex_lock(&known->lock);
    struct known_record *record = find(known, kind, fh);
    if (record->kind != 0)
        take_out(known, record);
    pthread_mutex_unlock(&known->lock);
}

int known_write(struct known *known, int fd)
{
    enum { AT_ONCE = 1024 };
    struct known_record batch[AT_ONCE];
    size_t count = 0;
    int result = 0;
    pthread_mutex_lock(&known->lock);
    for (size_t i = 0; i < known->capacity && result == 0; i++) {
        if (known->records[i].kind != 0)
            batch[count++] = known->records[i];
        if (count == AT_ONCE || (i + 1 == known->capacity && count > 0)) {
            result = write_whole(fd, batch, count * sizeof *batch);
            count = 0;
        }
    }
    pthread_mutex_unlock(&known->lock);
    return result;
}
