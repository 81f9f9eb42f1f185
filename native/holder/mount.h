/* Mounting and unmounting: mount(2) with the privilege, fusermount3 without. */
#ifndef TIERFS_HOLDER_MOUNT_H
#define TIERFS_HOLDER_MOUNT_H

#include <stdbool.h>

/* The descriptor of /dev/fuse of a new mount, or -errno. `options` as after mount -o, with fsname= and subtype=. */
int mount_begin(const char *mountpoint, const char *options);

/* 0 or -errno. Waits as umount(2) does, so never on a thread that answers requests. */
int mount_end(const char *mountpoint, bool lazy);

/*
 * As root: how much the kernel reads ahead in the mount; it starts with 128 KiB whatever INIT says. Asks the file
 * system nothing. After INIT.
 */
void mount_set_readahead(const char *mountpoint, unsigned kibibytes);

#endif
