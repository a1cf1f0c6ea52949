// Descriptors over Unix sockets (unix(7), SCM_RIGHTS). All calls return -errno on failure.
#pragma once
#include <sys/types.h>

// Sends up to `length` bytes, with `count` (0 to 253) descriptors at the first of them; returns the bytes sent.
ssize_t weft_send_with_fds(int sock, const void *data, size_t length, const int *fds, int count);

// Receives up to `capacity` bytes and the descriptors at them, close-on-exec; returns the bytes received, 0 at the end.
// Descriptors beyond `capacity_fds` are closed. Never blocks.
ssize_t weft_receive_with_fds(int sock, void *data, size_t capacity, int *fds, int capacity_fds, int *count_out);

// A descriptor (pidfd) of the process at the other end when it connected, and its number: SO_PEERPIDFD (Linux 6.5),
// else by the number, at once. 0 or -errno.
int weft_peer_process(int sock, int *pidfd_out, pid_t *pid_out);

// The user of the process at the other end when it connected (SO_PEERCRED). 0 or -errno.
int weft_peer_uid(int sock, uid_t *out);
