// Processes inside simulated nodes and pods: what must happen between fork and exec, where Swift can't run.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct weft_lab_bind {
  const char *source;
  const char *target;
};

/// Where and how a program runs. Descriptors are -1, and pointers NULL, where a part is not wanted.
struct weft_lab_process {
  const char *path;
  char *const *argv;
  char *const *envp;
  const char *directory;
  int network_namespace;
  /// The node's, entered before the cgroup is joined: a container runtime's process too is in its node's network first.
  int node_namespace;
  /// Open for writing on the `cgroup.procs` that the process joins.
  int cgroup_procs;
  /// Files of the process's own, in a mount namespace of its own: each of `binds` is bound over its target. Ends with
  /// a source that is NULL.
  const struct weft_lab_bind *binds;
  /// Set in a UTS namespace of the process's own.
  const char *hostname;
  /// Standard streams; -1 is /dev/null.
  int standard_input, standard_output, standard_error;
  bool new_session;
  /// It is process 1 of a PID namespace (of weft_lab_spawn alone).
  bool new_process_namespace;
  /// The signal that the process gets when the thread that spawned it ends; 0 for none.
  int parent_death_signal;
  /// 0 keeps the user.
  uid_t user;
  /// Runs without capabilities and with no-new-privileges, also as root.
  bool without_privileges;
};

/// Starts a process that inherits no descriptor but its standard streams.
/// Returns 0 and the pid, or errno and the step that failed; in that case no process is left.
int weft_lab_spawn(const struct weft_lab_process *process, pid_t *pid, const char **step);

/// Becomes the program, keeping pid, standard streams and what else the caller passed.
/// Returns only on failure: errno and the step.
int weft_lab_exec(const struct weft_lab_process *process, const char **step);

/// One value of a sysctl: `path` is absolute below /proc/sys.
struct weft_lab_setting {
  const char *path;
  const char *value;
};

/// Writes `count` sysctls of the network namespace `network_namespace`, on a thread that lives as long as it takes.
/// Settings whose file doesn't exist are skipped. Returns 0, or errno and the index of the setting (count: setns).
int weft_lab_write_settings(int network_namespace, const struct weft_lab_setting *settings, size_t count,
                            size_t *failed);

/// pipe2 with both ends close-on-exec: 0, or -1 and errno.
int weft_lab_pipe(int ends[2]);

/// An anonymous file in memory (memfd_create), or -1 and errno.
int weft_lab_memory_file(void);

/// From now on SIGINT and SIGTERM are remembered instead of ending the process.
void weft_lab_remember_interrupts(void);
/// The signal that arrived since, or 0.
int weft_lab_interrupt(void);
