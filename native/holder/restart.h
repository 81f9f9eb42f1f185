/*
 * The daemon's next life. When the daemon dies without saying that it leaves, the holder starts it again with the
 * same command: the new one finds the descriptors of two fresh links and of what the kernel holds in its environment.
 * What was not answered is asked again by the kernel (FUSE_NOTIFY_RESEND, Linux 6.9), so programs see a pause; tokens.h
 * says how a change is carried out once all the same.
 *
 * An older kernel does not ask again: what the dead daemon had been given is answered with ENOTCONN, and a change of
 * names may have happened or not.
 */
#ifndef TIERFS_HOLDER_RESTART_H
#define TIERFS_HOLDER_RESTART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PACKETS,CONTROL,STATE: descriptors of the packet socket, the control link and a file of struct known_record. */
#define RESTART_VARIABLE "TIERFS_TAKEOVER"

struct holder;
struct restart;
struct fuse_in_header;

/* `command` ends with NULL and stays the caller's. */
struct restart *restart_new(char **command);

/* The kernel's INIT, as the first daemon got it. `asks_again`: it offers FUSE_HAS_RESEND. */
void restart_keep_init(struct restart *restart, const struct fuse_in_header *init, bool asks_again);

/* True: there is a new daemon, and the links lead to it. Called by the thread that reads from Python. */
bool restart_daemon(struct holder *holder);

/* Does the kernel ask the next daemon for what this one does not answer? Known from INIT on. */
bool restart_asks_again(const struct holder *holder);

/* The decision: is the `count`th life within so few seconds one too many? */
bool restart_gives_up(uint64_t starts_ms[], size_t *count, uint64_t now_ms);

#endif
