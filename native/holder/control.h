/*
 * The control link to Python: an AF_UNIX SOCK_SEQPACKET pair, one message a packet, descriptors by SCM_RIGHTS.
 * Each request has a tag (not 0) and gets one answer with it; answers may come in another order. The twin of these
 * structures is tierfs/fuse/holder.py; CONTROL_VERSION changes with them.
 */
#ifndef TIERFS_HOLDER_CONTROL_H
#define TIERFS_HOLDER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTROL_VERSION = 7, CONTROL_PACKET_MAX_BYTES = 65536 };

enum control_kind {
    CONTROL_STATUS = 1,   /* answer: JSON */
    /* ino, a = hot_flags, b = how long its struct fuse_attr, if one follows, is valid, in ns; one descriptor. With tag
     * 0 it gets no answer */
    CONTROL_REGISTER = 2,
    CONTROL_REVOKE = 3,   /* ino, a = revoke_flags, b = milliseconds to wait */
    CONTROL_DRAIN = 4,    /* answer: a = 1 if there is more, struct hot_use[] */
    CONTROL_INVAL_INODE = 5, /* ino, a = offset, b = length (signed; length 0: to the end; offset < 0: attributes) */
    CONTROL_INVAL_ENTRY = 6, /* ino = parent, the name follows */
    CONTROL_UNMOUNT = 7,     /* a = 1: lazily */
    CONTROL_BRAKE = 8,       /* a = 1: on, 0: off. An error when files cannot be marked */
    CONTROL_REPLY = 9,       /* to CONTROL_REQUEST: ino = its id, a = errno or 0, b = the value. Gets no answer */
    /* these three get no answer, either */
    CONTROL_SERVE = 10,   /* ino, a = served_flags, b = its limit in bytes; one descriptor; struct served_range[] */
    CONTROL_PRESENT = 11, /* ino, a = start, b = stop of what is present, too; UINT64_MAX: to the end, for good */
    CONTROL_BUDGET = 12,  /* a = how many bytes may be written */
    CONTROL_WITHDRAW = 13, /* ino. Answer, but with tag 0: the backing file is not used any more */
    CONTROL_LEAVE = 14, /* the daemon ends by itself: do not start it again */
    /* these three get no answer */
    CONTROL_KEEP = 15,    /* as REGISTER, of a file that is served whole, with its descriptor; it is withdrawn */
    CONTROL_DISCARD = 16, /* ino: as REVOKE, when its last RELEASE has come, if it has not */
    CONTROL_CHANGED = 17, /* ino: what was said of its attributes is not true any more */
    CONTROL_REVOKE_IDLE = 18, /* inodes follow, a u64 each: as REVOKE. Answer: those that are open, and so remain */
    CONTROL_MOUNTED = 100,   /* events, tag 0: status; a = CONTROL_VERSION */
    CONTROL_ENDED = 101,     /* the kernel has ended the session */
    /* status = opcode, a = its id (0: only told), b = inode; its FUSE argument follows. Of a READ the answer says that
     * it is to be tried again */
    CONTROL_REQUEST = 102,
};

struct control_request {
    uint32_t kind, tag;
    uint64_t ino, a, b;
};

struct control_answer {
    uint32_t kind, tag; /* kind: 0, or that of an event */
    int32_t status;     /* 0 or -errno */
    uint32_t padding;
    uint64_t a, b;
};

struct holder;

void control_answer(struct holder *holder, uint32_t tag, int status, uint64_t a, uint64_t b, const void *payload,
                    size_t payload_bytes);
void control_event(struct holder *holder, enum control_kind kind, int status, uint64_t a);
/* A request of the kernel for Python. 0, or -ENOMEM: the link is full, -ENOTCONN */
int control_forward(struct holder *holder, uint32_t opcode, uint64_t unique, uint64_t ino, const void *argument,
                    size_t argument_bytes);
bool control_start(struct holder *holder);
/* Carries out what Python has said on this link up to now: what it says later on the other one comes after it. */
void control_catch_up(struct holder *holder);
/* Waits for the end of the control thread. */
void control_stop(struct holder *holder);

#endif
