// Starting the node's proxy with nothing but a user of its own.
#pragma once
#include <sys/types.h>

struct weft_spawn {
  // Absolute; argv ends with NULL.
  const char *path;
  char *const *argv;
  // Becomes descriptor 3; every other one above 2 is closed.
  int inherited_fd;
  // The cgroup's folder that the child joins, or NULL.
  const char *cgroup;
  uid_t uid;
};

// Forks and executes: own session, `uid` (and the group of the same number, no others), no capability in any set, no
// new privileges, no core files, as many descriptors as the hard limit allows (1,048,576 where it may be raised).
// Returns the pid, or -errno of the step that failed, named in `step`.
pid_t weft_spawn_proxy(const struct weft_spawn *spawn, const char **step);

// Moves the whole process into the cgroup at this folder, also out of a cgroup namespace where the process may enter
// that of process 1. 0, or an errno value.
int weft_join_cgroup(const char *cgroup);

// Waits for a child's end: 0 to 255 its status, 256 + N killed by signal N, -errno on failure.
int weft_wait_child(pid_t pid);

// A descriptor of a process (Linux 5.3), close-on-exec, or -errno.
int weft_pidfd_open(pid_t pid);

// Sends the signal; 0 or -errno.
int weft_pidfd_kill(int handle, int signal);

// Blocks until the process has ended.
void weft_pidfd_wait(int handle);
