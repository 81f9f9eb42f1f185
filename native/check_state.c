/*
 * Driver of what the holder keeps of the kernel's state, run under ASan and UBSan by check.sh: the tables of known.c
 * and hot_table.c against plain models of the kernel, and reads and writes of all bytes against a disk that gives and
 * takes pieces. The kernel's backing files and the brake are played here, and refuse what the real ones would.
 */
#include "check.h"
#include "check_faults.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "holder/brake.h"
#include "holder/hot_table.h"
#include "holder/known.h"
#include "holder/whole_io.h"

static int memory_file(void)
{
    int fd = memfd_create("check", MFD_CLOEXEC);
    REQUIRE(fd >= 0, "%s", strerror(errno));
    return fd;
}

/* ---- reads and writes of all bytes ---- */

static void check_whole_io(void)
{
    size_t size_bytes = random_below(5000), at = random_below(100);
    uint8_t *data = random_bytes(size_bytes), *back = random_bytes(at + size_bytes + 50);
    int fd = temporary_file();
    fault.on = true;
    REQUIRE(pwrite_whole(fd, data, size_bytes, at) == 0, "%zu bytes", size_bytes);
    ssize_t expected = size_bytes > 0 ? (ssize_t)(at + size_bytes) : 0;
    ssize_t got = pread_whole(fd, back, at + size_bytes + 50, 0);
    REQUIRE(got == expected, "%zd bytes of %zd", got, expected);
    REQUIRE(size_bytes == 0 || memcmp(back + at, data, size_bytes) == 0, "%zu other bytes", size_bytes);
    REQUIRE(lseek(fd, 0, SEEK_END) == expected && write_whole(fd, data, size_bytes) == 0, "it cannot be appended to");
    REQUIRE(pread_whole(fd, back, size_bytes, (uint64_t)expected) == (ssize_t)size_bytes, "%zu bytes", size_bytes);
    REQUIRE(memcmp(back, data, size_bytes) == 0, "%zu other bytes behind them", size_bytes);
    fault.writes_before_full = 0;
    REQUIRE(pwrite_whole(fd, "x", 1, 0) == -ENOSPC && write_whole(fd, "x", 1) == -ENOSPC, "a full disk took it");
    fault.writes_before_full = -1;
    REQUIRE(pread_whole(fd, back, 1, UINT64_MAX) == -EINVAL && pwrite_whole(fd, "x", 1, INT64_MAX) == -EINVAL, "wraps");
    REQUIRE(pread_whole(-1, back, 1, 0) == -EBADF && write_whole(-1, "x", 1) == -EBADF, "no file is no error");
    fault.on = false;
    close(fd);
    free(data);
    free(back);
}

/* ---- what the kernel holds of Python's ---- */

enum { KINDS = KNOWN_DIRECTORY + 1, IDS = 900 }; /* the table begins with 1024 places, half of them to be taken */

static struct {
    struct known *known;
    struct known_record records[KINDS][IDS]; /* kind 0: it does not know it */
} told;                                      /* over all rounds: nothing frees the table */

static void compare_known(void)
{
    static bool seen[KINDS][IDS];
    struct known_record record;
    size_t count = 0, expected = 0;
    int fd = memory_file();
    memset(seen, 0, sizeof seen);
    fault.on = true;
    REQUIRE(known_write(told.known, fd) == 0, "not written");
    fault.on = false;
    for (; pread(fd, &record, sizeof record, (off_t)(count * sizeof record)) > 0; count++) {
        REQUIRE(record.kind > 0 && record.kind < KINDS && record.id < IDS, "an unknown record");
        const struct known_record *model = &told.records[record.kind][record.id];
        REQUIRE(memcmp(&record, model, sizeof record) == 0, "%u, %" PRIu64, record.kind, record.id);
        REQUIRE(!seen[record.kind][record.id], "%u, %" PRIu64 " twice", record.kind, record.id);
        seen[record.kind][record.id] = true;
    }
    for (size_t kind = 0; kind < KINDS; kind++)
        for (size_t id = 0; id < IDS; id++)
            expected += told.records[kind][id].kind != 0;
    REQUIRE(count == expected, "%zu of %zu", count, expected);
    close(fd);
}

static void step_known(void)
{
    uint32_t kind = KNOWN_LOOKUPS + (uint32_t)random_below(3), flags = (uint32_t)random_below(4);
    uint64_t id = random_below(IDS), count = 1 + random_below(3);
    struct known_record *model = &told.records[kind][id];
    bool adds = random_below(2);
    if (kind == KNOWN_LOOKUPS && adds) {
        known_looked_up(told.known, id);
        *model = (struct known_record){.kind = kind, .id = id, .value = model->value + 1};
    } else if (kind == KNOWN_LOOKUPS) {
        known_forgotten(told.known, id, count);
        *model = model->value > count ? (struct known_record){.kind = kind, .id = id, .value = model->value - count}
                                      : (struct known_record){0};
    } else if (adds) {
        known_opened(told.known, kind, id, count, flags);
        *model = (struct known_record){.kind = kind, .flags = flags, .id = id, .value = count};
    } else {
        known_released(told.known, kind, id);
        *model = (struct known_record){0};
    }
}

static void check_known(void)
{
    if (told.known == NULL)
        told.known = known_new();
    REQUIRE(told.known != NULL, "out of memory");
    for (int step = 0; step < 4000; step++)
        step_known();
    compare_known();
}

/* ---- hot files, as the kernel sees them ---- */

enum { INODES = 6, OPENS = 8, FILE_BYTES = 300, BACKINGS_MAX = 1 << 20, DESCRIPTORS = 256 };

struct open {
    bool used, here, passes, writes;
    uint64_t fh;
    uint32_t flags;
    int backing_id;
};

struct file {
    bool registered, revoking, discarded, may_write, no_capabilities;
    struct open opens[OPENS];
};

static struct file files[INODES + 1]; /* by inode; 0 is none */
static uint64_t opens_total, drained_total;

struct brake {
    bool on, marked[DESCRIPTORS];
    size_t count;
} brake;

static struct {
    bool alive[BACKINGS_MAX];
    int last;
} backings;

void brake_try(struct brake *unused, int fd)
{
    (void)unused;
    REQUIRE((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY, "a descriptor that counts as a writer");
}

void brake_mark(struct brake *it, int fd, bool ignored)
{
    REQUIRE(fd >= 0 && fd < DESCRIPTORS && !it->marked[fd] && ignored == !it->on, "descriptor %d", fd);
    it->marked[fd] = true;
    it->count++;
}

void brake_ignore(struct brake *it, int fd, bool ignored)
{
    REQUIRE(fd >= 0 && fd < DESCRIPTORS && it->marked[fd], "descriptor %d, %d", fd, ignored);
}

void brake_unmark(struct brake *it, int fd)
{
    REQUIRE(fd >= 0 && fd < DESCRIPTORS && it->marked[fd], "descriptor %d", fd);
    it->marked[fd] = false;
    it->count--;
}

void brake_switch(struct brake *it, bool on)
{
    it->on = on;
}

int __wrap_ioctl(int fd, unsigned long request, ...);

/* The kernel's backing ids. One in ten is refused, as without memory. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    const void *argument = va_arg(rest, const void *);
    va_end(rest);
    REQUIRE(fd == -7, "not the kernel's descriptor: %d", fd);
    if (request == FUSE_DEV_IOC_BACKING_CLOSE) {
        uint32_t id = *(const uint32_t *)argument;
        REQUIRE(id < BACKINGS_MAX && backings.alive[id], "backing %u is not there", id);
        for (size_t ino = 1; ino <= INODES; ino++)
            for (struct open *open = files[ino].opens; open < files[ino].opens + OPENS; open++)
                REQUIRE(!open->used || !open->passes || open->backing_id != (int)id, "backing %u is in use", id);
        backings.alive[id] = false;
        return 0;
    }
    REQUIRE(request == FUSE_DEV_IOC_BACKING_OPEN, "request %lx", request);
    REQUIRE(fcntl(((const struct fuse_backing_map *)argument)->fd, F_GETFD) >= 0, "no file behind it");
    if (random_below(10) == 0 || backings.last + 1 == BACKINGS_MAX) {
        errno = ENOMEM;
        return -1;
    }
    backings.alive[++backings.last] = true;
    return backings.last;
}

static bool is_open(const struct file *file, bool (*which)(const struct open *))
{
    for (size_t i = 0; i < OPENS; i++)
        if (file->opens[i].used && which(&file->opens[i]))
            return true;
    return false;
}

static bool any(const struct open *open)
{
    return open != NULL;
}

static bool passing(const struct open *open)
{
    return open->passes;
}

static bool ours_or_passing(const struct open *open)
{
    return open->here || open->passes;
}

static bool writing(const struct open *open)
{
    return open->writes;
}

static bool writing_unseen(const struct open *open)
{
    return open->writes && open->passes;
}

/* fs/fuse/iomode.c: an OPEN in the other mode, or with another backing id, is EIO. */
static void require_one_mode(const struct file *file, const struct open *fresh)
{
    for (const struct open *open = file->opens; open < file->opens + OPENS; open++)
        if (open->used)
            REQUIRE(open->passes == fresh->passes && open->backing_id == fresh->backing_id,
                    "passthrough %d of backing %d beside %d of %d", fresh->passes, fresh->backing_id, open->passes,
                    open->backing_id);
    if (fresh->passes)
        REQUIRE(fresh->backing_id > 0 && backings.alive[fresh->backing_id], "backing %d", fresh->backing_id);
}

static void open_one(struct hot_table *table, uint64_t ino, struct open *slot)
{
    static const uint32_t FLAGS[] = {O_RDONLY, O_RDONLY, O_RDONLY | O_TRUNC, O_WRONLY, O_RDWR | O_APPEND};
    struct file *file = &files[ino];
    uint32_t flags = FLAGS[random_below(sizeof FLAGS / sizeof *FLAGS)];
    bool reads = flags == O_RDONLY, writes = (flags & O_ACCMODE) != O_RDONLY;
    struct fuse_open_out out = {.fh = 1 + random_below(1000),
                                .open_flags = random_below(4) ? FOPEN_KEEP_CACHE : FOPEN_DIRECT_IO};
    struct open fresh = {.used = true, .writes = writes, .flags = flags};
    fresh.here = hot_open(table, ino, flags, &out);
    REQUIRE(fresh.here == (reads && file->registered && !file->revoking), "who answers an OPEN with %x", flags);
    if (!fresh.here) {
        int result = hot_opened(table, ino, flags, &out);
        bool refused = writes && !file->may_write && is_open(file, passing);
        REQUIRE(result == (refused ? -ETXTBSY : 0), "%d", result);
        if (refused)
            return;
    } else {
        REQUIRE(out.fh == (HOLDER_FH | ino), "another handle than the inode's");
    }
    fresh.fh = out.fh;
    fresh.passes = (out.open_flags & FOPEN_PASSTHROUGH) != 0;
    fresh.backing_id = fresh.passes ? out.backing_id : 0;
    REQUIRE(!fresh.passes || !(out.open_flags & FOPEN_KEEP_CACHE), "passthrough with a cache");
    REQUIRE(!fresh.passes || file->registered, "passthrough of nothing");
    require_one_mode(file, &fresh);
    opens_total += fresh.here;
    *slot = fresh;
}

static void register_one(struct hot_table *table, uint64_t ino, int backing_fd)
{
    struct file *file = &files[ino];
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", backing_fd);
    int fd = open(path, (random_below(2) ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    uint32_t flags = (uint32_t)random_below(4);
    REQUIRE(fd >= 0, "%s", strerror(errno));
    int result = hot_register(table, ino, fd, flags);
    REQUIRE(result == (file->registered ? -EEXIST : 0), "%d", result);
    if (result == 0) {
        file->registered = true;
        file->revoking = false;
        file->may_write = flags & HOT_WRITABLE;
        file->no_capabilities = flags & HOT_NO_CAPABILITIES;
    }
}

static void unregistered(struct file *file)
{
    file->registered = file->revoking = file->discarded = file->may_write = file->no_capabilities = false;
}

static void revoke_one(struct hot_table *table, uint64_t ino)
{
    struct file *file = &files[ino];
    uint32_t flags = random_below(2) ? REVOKE_WAIT : 0;
    int result = hot_revoke(table, ino, flags);
    int expected = !file->registered ? -ENOENT : is_open(file, ours_or_passing) ? -EBUSY : 0;
    REQUIRE(result == expected, "%d instead of %d", result, expected);
    if (result == 0)
        unregistered(file);
    else if (result == -EBUSY && flags)
        file->revoking = true;
    if (random_below(3) == 0) {
        hot_revoke_cancel(table, ino);
        file->revoking = file->discarded;
    }
}

static void discard_one(struct hot_table *table, uint64_t ino)
{
    struct file *file = &files[ino];
    hot_discard(table, ino);
    if (!file->registered)
        return;
    file->revoking = file->discarded = true;
    if (!is_open(file, ours_or_passing))
        unregistered(file);
}

static void release_one(struct hot_table *table, uint64_t ino, struct open *slot)
{
    if (!slot->used)
        return;
    slot->used = false; /* the kernel is done with it before the RELEASE */
    hot_release(table, ino, slot->fh, slot->flags);
    if (files[ino].discarded && !is_open(&files[ino], ours_or_passing))
        unregistered(&files[ino]);
}

static void drain(struct hot_table *table)
{
    struct hot_use uses[2];
    bool more = true;
    while (more) {
        size_t count = hot_drain(table, uses, 2, &more);
        REQUIRE(count <= 2 && (!more || count == 2), "%zu", count);
        for (size_t i = 0; i < count; i++)
            drained_total += uses[i].opens;
    }
}

static void read_one(struct hot_table *table, uint64_t ino, const uint8_t *data)
{
    uint8_t buffer[FILE_BYTES];
    size_t at = random_below(FILE_BYTES), size_bytes = random_below(FILE_BYTES), left = FILE_BYTES - at;
    fault.on = true;
    long got = hot_read(table, ino, buffer, size_bytes, at);
    fault.on = false;
    long expected = files[ino].registered ? (long)(size_bytes < left ? size_bytes : left) : -EBADF;
    REQUIRE(got == expected, "%ld instead of %ld", got, expected);
    REQUIRE(got <= 0 || memcmp(buffer, data + at, (size_t)got) == 0, "other bytes at %zu", at);
}

/* What was learned of an inode holds until something of it changes. */
static void ask_attributes(struct hot_table *table, uint64_t ino)
{
    struct fuse_attr attr = {.ino = ino, .size = random_uint64()};
    struct fuse_attr_out out;
    uint64_t note = hot_note(table, ino);
    bool changes = random_below(2);
    if (changes)
        hot_changed(table, random_below(2) ? ino : 0);
    hot_learn(table, ino, note, &attr, UINT64_C(3600000000000));
    bool known = hot_attributes(table, ino, &out);
    REQUIRE(known == (files[ino].registered && !changes), "known: %d, changed: %d", known, changes);
    REQUIRE(!known || out.attr.size == attr.size, "another size");
    hot_changed(table, ino);
    REQUIRE(!hot_attributes(table, ino, &out), "known although it changed");
}

static void require_counts(struct hot_table *table)
{
    struct hot_counts expected = {0}, counts = hot_count(table);
    size_t marked = 0;
    for (uint64_t ino = 1; ino <= INODES; ino++) {
        const struct file *file = &files[ino];
        expected.registered += file->registered;
        marked += is_open(file, writing_unseen);
        for (const struct open *open = file->opens; open < file->opens + OPENS; open++) {
            expected.open_here += open->used && open->here;
            expected.open_in_python += open->used && !open->here;
        }
        REQUIRE(hot_lacks_capabilities(table, ino) == (file->no_capabilities && !is_open(file, writing)), "%" PRIu64,
                ino);
    }
    REQUIRE(memcmp(&expected, &counts, sizeof counts) == 0, "%" PRIu64 " registered, %" PRIu64 " open here",
            counts.registered, counts.open_here);
    REQUIRE(brake.count == marked, "%zu marks for %zu files that are written unseen", brake.count, marked);
}

static void require_written(struct hot_table *table)
{
    struct known_record record;
    int fd = memory_file();
    off_t at = 0;
    size_t expected = 0;
    fault.on = true;
    REQUIRE(hot_write(table, fd) == 0, "not written");
    fault.on = false;
    for (; pread(fd, &record, sizeof record, at) > 0; at += (off_t)sizeof record)
        REQUIRE(record.kind == KNOWN_LENT && record.id <= INODES && files[record.id].registered &&
                    record.value == (HOLDER_FH | record.id),
                "inode %" PRIu64, record.id);
    for (uint64_t ino = 1; ino <= INODES; ino++)
        expected += files[ino].registered;
    REQUIRE((size_t)at == expected * sizeof record, "%zu", expected);
    close(fd);
}

static void check_hot_table(void)
{
    uint8_t *data = random_bytes(FILE_BYTES);
    int backing_fd = temporary_file();
    struct hot_table *table = hot_new(-7, &brake);
    REQUIRE(table != NULL && pwrite(backing_fd, data, FILE_BYTES, 0) == FILE_BYTES, "nothing to work on");
    hot_set_passthrough(table, random_below(4) != 0);
    for (int step = 0; step < 2000; step++) {
        uint64_t ino = 1 + random_below(INODES);
        struct open *slot = &files[ino].opens[random_below(OPENS)];
        switch (random_below(8)) {
        case 0:
            register_one(table, ino, backing_fd);
            break;
        case 1:
            if (random_below(3) == 0)
                discard_one(table, ino);
            else
                revoke_one(table, ino);
            break;
        case 2:
            read_one(table, ino, data);
            break;
        case 3:
            ask_attributes(table, ino);
            break;
        case 4:
            if (random_below(10) == 0)
                hot_brake(table, !brake.on);
            else
                drain(table);
            break;
        default:
            if (slot->used)
                release_one(table, ino, slot);
            else
                open_one(table, ino, slot);
        }
        require_counts(table);
    }
    require_written(table);
    hot_brake(table, false);
    for (uint64_t ino = 1; ino <= INODES; ino++) {
        for (size_t i = 0; i < OPENS; i++)
            release_one(table, ino, &files[ino].opens[i]);
        REQUIRE(!is_open(&files[ino], any), "inode %" PRIu64, ino);
        REQUIRE(hot_revoke(table, ino, 0) == (files[ino].registered ? 0 : -ENOENT), "inode %" PRIu64, ino);
        files[ino] = (struct file){0};
    }
    require_counts(table);
    drain(table);
    REQUIRE(drained_total == opens_total, "%" PRIu64 " uses of %" PRIu64, drained_total, opens_total);
    for (int id = 1; id <= backings.last; id++)
        REQUIRE(!backings.alive[id], "backing %d is left", id);
    backings.last = 0;
    free(table);
    close(backing_fd);
    free(data);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 20;
    printf("holder's state: seed %" PRIu64 ", %lu rounds\n", random_state, rounds);
    for (unsigned long round = 0; round < rounds; round++) {
        for (int i = 0; i < 50; i++)
            check_whole_io();
        check_known();
        check_hot_table();
    }
    REQUIRE(fault.interrupted > 10 && fault.shortened > 10, "the faults did not happen: is --wrap missing?");
    return 0;
}
