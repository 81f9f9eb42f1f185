#include "directories.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clocks.h"

enum {
    BUCKETS = 1024,
    DIRECTORIES_MAX = 4096, /* Python tells of fewer */
    NAMES_MAX = 1 << 16,    /* of one directory; beyond it Python is asked */
    SLOTS_MIN = 64,
    NAME_MAX_BYTES = 255,
};

/* Hashes of names. A name that is not there may have the hash of one that is, which costs a question. */
struct names {
    uint64_t *slots; /* 0: free */
    size_t capacity, count;
};

struct directory {
    struct directory *next;
    uint64_t ino;
    struct fuse_attr attr;
    bool attr_known;
    bool fresh; /* the attributes were told since the last answer of a request that changes them */
    uint64_t attr_until_ns;
    bool names_known;
    uint64_t names_until_ns, negative_ns;
    struct names names;
    size_t making; /* requests on their way that may make a name */
};

struct directories {
    pthread_mutex_t lock;
    size_t count;
    size_t uncounted; /* requests that may make a name in a directory that the table had no room for */
    struct directory *buckets[BUCKETS];
};

struct directories *directories_new(void)
{
    struct directories *table = calloc(1, sizeof *table);
    if (table != NULL)
        pthread_mutex_init(&table->lock, NULL);
    return table;
}

/* ---- sets of names ---- */

static uint64_t hash_of(const char *name, size_t name_bytes)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a */
    for (size_t i = 0; i < name_bytes; i++)
        hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001B3);
    hash ^= hash >> 32;
    return hash != 0 ? hash : 1;
}

static uint64_t *slot_of(const struct names *names, uint64_t hash)
{
    size_t at = hash & (names->capacity - 1);
    while (names->slots[at] != 0 && names->slots[at] != hash)
        at = (at + 1) & (names->capacity - 1);
    return &names->slots[at];
}

static bool grow(struct names *names)
{
    struct names grown = {.capacity = names->capacity != 0 ? names->capacity * 2 : SLOTS_MIN, .count = names->count};
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (grown.slots == NULL)
        return false;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i] != 0)
            *slot_of(&grown, names->slots[i]) = names->slots[i];
    free(names->slots);
    *names = grown;
    return true;
}

/* False: too many, or no memory. */
static bool add_name(struct names *names, const char *name, size_t name_bytes)
{
    if (names->count == NAMES_MAX || (names->count >= names->capacity / 2 && !grow(names)))
        return false;
    uint64_t hash = hash_of(name, name_bytes), *slot = slot_of(names, hash);
    names->count += *slot == 0;
    *slot = hash;
    return true;
}

static void forget_names(struct directory *directory)
{
    free(directory->names.slots);
    directory->names = (struct names){0};
    directory->names_known = false;
}

/* ---- the table, with its lock held ---- */

static struct directory **place_of(struct directories *table, uint64_t ino)
{
    struct directory **at = &table->buckets[(ino * UINT64_C(0x9E3779B97F4A7C15)) >> 54];
    while (*at != NULL && (*at)->ino != ino)
        at = &(*at)->next;
    return at;
}

static struct directory *directory_of(struct directories *table, uint64_t ino)
{
    struct directory **at = place_of(table, ino);
    if (*at == NULL && table->count < DIRECTORIES_MAX && (*at = calloc(1, sizeof **at)) != NULL) {
        (*at)->ino = ino;
        table->count++;
    }
    return *at;
}

static void drop_if_unknown(struct directories *table, uint64_t ino)
{
    struct directory **at = place_of(table, ino), *directory = *at;
    if (directory != NULL && !directory->attr_known && !directory->names_known && directory->making == 0) {
        *at = directory->next;
        table->count--;
        free(directory);
    }
}

/* ---- what Python says ---- */

/* All of them or, where one cannot be kept, none. False: malformed. */
static bool take_names(struct directory *directory, const struct told *told, const char *at, size_t left)
{
    bool valid = true, kept = true;
    forget_names(directory);
    while (left > 0 && valid) {
        size_t name_bytes = (uint8_t)*at;
        valid = name_bytes > 0 && name_bytes < left;
        kept = kept && valid && add_name(&directory->names, at + 1, name_bytes);
        at += valid ? 1 + name_bytes : 0;
        left -= valid ? 1 + name_bytes : 0;
    }
    if (!kept)
        forget_names(directory);
    directory->names_known = kept;
    directory->names_until_ns = monotonic_ns() + told->valid_ns;
    directory->negative_ns = told->negative_ns;
    return valid;
}

static bool take(struct directories *table, const struct told *told, const char *payload, size_t payload_bytes)
{
    struct directory *directory;
    switch (told->kind) {
    case TOLD_NOTHING:
        directory = *place_of(table, told->ino);
        if (directory != NULL) {
            directory->attr_known = directory->fresh = false;
            forget_names(directory);
        }
        return payload_bytes == 0;
    case TOLD_ATTRIBUTES:
        if (payload_bytes != sizeof directory->attr)
            return false;
        directory = directory_of(table, told->ino);
        if (directory == NULL)
            return true;
        memcpy(&directory->attr, payload, sizeof directory->attr);
        directory->attr_known = directory->fresh = true;
        directory->attr_until_ns = monotonic_ns() + told->valid_ns;
        return true;
    case TOLD_NAMES:
        directory = directory_of(table, told->ino);
        if (directory == NULL || directory->making > 0 || table->uncounted > 0)
            return true; /* Python may not know of the name that one of them makes */
        return take_names(directory, told, payload, payload_bytes);
    case TOLD_STILL:
        directory = *place_of(table, told->ino);
        if (directory != NULL)
            directory->names_until_ns = monotonic_ns() + told->valid_ns;
        return payload_bytes == 0;
    default:
        return false;
    }
}

bool directories_told(struct directories *table, const struct fuse_out_header *header)
{
    struct told told;
    const char *payload = (const char *)(header + 1) + sizeof told;
    if (header->len < sizeof *header + sizeof told)
        return false;
    memcpy(&told, header + 1, sizeof told);
    if (told.valid_ns > INT64_MAX || told.negative_ns > INT64_MAX)
        return false;
    pthread_mutex_lock(&table->lock);
    bool valid = take(table, &told, payload, header->len - sizeof *header - sizeof told);
    drop_if_unknown(table, told.ino);
    pthread_mutex_unlock(&table->lock);
    return valid;
}

/* ---- what the kernel asks ---- */

/* The name that the request may make, and in which directory; NULL: it makes none. */
static const char *name_made(const struct fuse_in_header *request, uint64_t *directory)
{
    enum { CREATE_IN_BYTES = 16, MKNOD_IN_BYTES = 16, MKDIR_IN_BYTES = 8, LINK_IN_BYTES = 8, RENAME_IN_BYTES = 8,
           RENAME2_IN_BYTES = 16 };
    const char *old;
    *directory = request->nodeid;
    switch (request->opcode) {
    case FUSE_CREATE:
        return wire_name(request, CREATE_IN_BYTES);
    case FUSE_MKNOD:
        return wire_name(request, MKNOD_IN_BYTES);
    case FUSE_MKDIR:
        return wire_name(request, MKDIR_IN_BYTES);
    case FUSE_SYMLINK:
        return wire_name(request, 0);
    case FUSE_LINK:
        return wire_name(request, LINK_IN_BYTES);
    case FUSE_RENAME:
    case FUSE_RENAME2:
        old = wire_name(request, request->opcode == FUSE_RENAME ? RENAME_IN_BYTES : RENAME2_IN_BYTES);
        if (old == NULL)
            return NULL;
        memcpy(directory, request + 1, sizeof *directory); /* the first field */
        return wire_name(request, (size_t)(old + strlen(old) + 1 - (const char *)(request + 1)));
    default:
        return NULL;
    }
}

static bool makes_names(uint32_t opcode)
{
    return opcode == FUSE_CREATE || opcode == FUSE_MKNOD || opcode == FUSE_MKDIR || opcode == FUSE_SYMLINK ||
           opcode == FUSE_LINK || opcode == FUSE_RENAME || opcode == FUSE_RENAME2;
}

void directories_asked(struct directories *table, const struct fuse_in_header *request, uint64_t *other)
{
    if (!makes_names(request->opcode))
        return;
    uint64_t ino;
    const char *name = name_made(request, &ino);
    *other = ino;
    pthread_mutex_lock(&table->lock);
    struct directory *directory = directory_of(table, ino);
    if (directory != NULL) {
        directory->making++;
        if (directory->names_known && (name == NULL || !add_name(&directory->names, name, strlen(name))))
            forget_names(directory);
    } else {
        table->uncounted++;
    }
    pthread_mutex_unlock(&table->lock);
}

/* Attributes that the answered request has changed, unless Python has just told what they are. */
static void outdate(struct directories *table, uint64_t ino)
{
    struct directory *directory = *place_of(table, ino);
    if (directory == NULL)
        return;
    directory->attr_known = directory->attr_known && directory->fresh;
    directory->fresh = false;
}

void directories_answered(struct directories *table, uint32_t opcode, uint64_t nodeid, uint64_t other)
{
    bool makes = makes_names(opcode);
    if (!makes && opcode != FUSE_UNLINK && opcode != FUSE_RMDIR && opcode != FUSE_SETATTR &&
        opcode != FUSE_SETXATTR && opcode != FUSE_REMOVEXATTR)
        return;
    pthread_mutex_lock(&table->lock);
    outdate(table, nodeid);
    if (makes && other != nodeid)
        outdate(table, other);
    struct directory *directory = makes ? *place_of(table, other) : NULL;
    if (directory != NULL && directory->making > 0)
        directory->making--;
    else if (makes && table->uncounted > 0)
        table->uncounted--;
    drop_if_unknown(table, nodeid);
    drop_if_unknown(table, other);
    pthread_mutex_unlock(&table->lock);
}

void directories_clear(struct directories *table)
{
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < BUCKETS; i++)
        while (table->buckets[i] != NULL) {
            struct directory *directory = table->buckets[i];
            table->buckets[i] = directory->next;
            forget_names(directory);
            free(directory);
        }
    table->count = table->uncounted = 0;
    pthread_mutex_unlock(&table->lock);
}

static void split(uint64_t left_ns, uint64_t *seconds, uint32_t *nanoseconds)
{
    *seconds = left_ns / 1000000000;
    *nanoseconds = (uint32_t)(left_ns % 1000000000);
}

bool directories_attributes(struct directories *table, uint64_t ino, struct fuse_attr_out *out)
{
    uint64_t now = monotonic_ns();
    pthread_mutex_lock(&table->lock);
    const struct directory *directory = *place_of(table, ino);
    bool known = directory != NULL && directory->attr_known && directory->attr_until_ns > now;
    if (known) {
        *out = (struct fuse_attr_out){.attr = directory->attr};
        split(directory->attr_until_ns - now, &out->attr_valid, &out->attr_valid_nsec);
    }
    pthread_mutex_unlock(&table->lock);
    return known;
}

bool directories_lack(struct directories *table, uint64_t ino, const char *name, struct fuse_entry_out *out)
{
    size_t name_bytes = strlen(name);
    if (name_bytes == 0 || name_bytes > NAME_MAX_BYTES || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    uint64_t now = monotonic_ns();
    pthread_mutex_lock(&table->lock);
    const struct directory *directory = *place_of(table, ino);
    bool lacks = directory != NULL && directory->names_known && directory->names_until_ns > now &&
                 (directory->names.count == 0 || *slot_of(&directory->names, hash_of(name, name_bytes)) == 0);
    if (lacks) {
        uint64_t left_ns = directory->names_until_ns - now;
        *out = (struct fuse_entry_out){0};
        split(left_ns < directory->negative_ns ? left_ns : directory->negative_ns, &out->entry_valid,
              &out->entry_valid_nsec);
    }
    pthread_mutex_unlock(&table->lock);
    return lacks;
}

struct directory_counts directories_count(struct directories *table)
{
    struct directory_counts counts = {0};
    pthread_mutex_lock(&table->lock);
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct directory *directory = table->buckets[i]; directory != NULL; directory = directory->next) {
            counts.attributes += directory->attr_known;
            counts.names += directory->names_known;
        }
    pthread_mutex_unlock(&table->lock);
    return counts;
}
