/*
 * Processors that sleep answer late: on a virtual machine waking one was seen to take 40 us, and one request that
 * Python answers wakes four threads. While requests come close after each other the holder asks the kernel that idle
 * processors stay awake (PM QoS, /dev/cpu_dma_latency, Documentation/power/pm_qos_interface.rst), which takes root,
 * and takes that back as soon as they stop: an idle mount costs no power.
 *
 * Any thread.
 */
#ifndef TIERFS_HOLDER_LATENCY_H
#define TIERFS_HOLDER_LATENCY_H

#include <stdbool.h>

struct latency;

/* `path` is the device. Never fails for want of it: see latency_state(). NULL: no memory. */
struct latency *latency_new(const char *path);
bool latency_start(struct latency *latency);

/* A request has come. */
void latency_note(struct latency *latency);

/* 1: it can ask, and does so in bursts; -errno: why it cannot. */
int latency_state(const struct latency *latency);

#endif
