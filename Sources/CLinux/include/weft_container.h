// Containers of the lab's kubelet: a root of their own over the machine's, mounts, user and capabilities.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// `source` (a folder or a file) is shown at `target`, an absolute path in the container that is made where it is
/// missing.
struct weft_container_mount {
  const char *source;
  const char *target;
  bool recursive;
  bool read_only;
};

/// Descriptors are -1, and pointers NULL, where a part is not wanted.
struct weft_container {
  /// A path in the container, or a name that is looked up in envp's PATH.
  const char *path;
  char *const *argv;
  char *const *envp;
  const char *directory;
  /// Joined before anything else is done; whatever follows is then found by it. Open for writing on `cgroup.procs`.
  int cgroup_procs;
  /// The node's, entered before the cgroup is joined: a container runtime's process too is in its node's network first.
  int node_namespace;
  int network_namespace;
  /// A PID namespace that the process is made in, with a /proc of its own.
  int process_namespace;
  /// A pidfd: its process's mount, UTS and network namespaces are joined and nothing is mounted (exec).
  int joined;
  /// The empty folder that the overlay is mounted on, and its options (`lowerdir=/,upperdir=…,workdir=…`).
  const char *root;
  const char *overlay;
  const struct weft_container_mount *mounts;
  size_t mount_count;
  bool read_only_root;
  const char *hostname;
  /// Standard streams; -1 is /dev/null.
  int standard_input, standard_output, standard_error;
  /// Makes standard input, a terminal, the controlling one.
  bool terminal;
  uid_t user;
  gid_t group;
  const gid_t *groups;
  size_t group_count;
  /// The bounding set: bit N is capability N. Another user than root has none in force, as in Kubernetes.
  uint64_t capabilities;
  bool no_new_privileges;
};

/// Starts a process in a session of its own that inherits no descriptor but its standard streams.
/// Returns 0 and the pid, or errno and the step that failed; in that case no process is left.
int weft_container_spawn(const struct weft_container *container, pid_t *pid, const char **step);

/// Lets a folder of an overlay's upper layer hide what the lower one has there. Returns 0 or errno.
int weft_container_hide(const char *folder);

/// Opens a TCP connection inside a network namespace, from its own address, and waits `milliseconds` at most.
/// Returns a blocking descriptor whose reads and writes have the same bound, or -errno.
int weft_container_connect(int network_namespace, uint32_t address, uint16_t port, int milliseconds);

/// A TCP socket that listens on every address of a network namespace, or -errno.
int weft_container_listen(int network_namespace, uint16_t port);
