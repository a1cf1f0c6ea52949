#define _GNU_SOURCE
#include "weft_spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const STEPS[] = {"fork",
                                    "join its cgroup",
                                    "start a session",
                                    "hand over the control socket",
                                    "close the other descriptors",
                                    "limit its resources",
                                    "drop its groups",
                                    "drop the capability bounding set",
                                    "change its user",
                                    "drop its capabilities",
                                    "forbid new privileges",
                                    "execute the program"};
enum { FORK, CGROUP, SESSION, HANDOVER, CLOSE, LIMITS, GROUPS, BOUNDING, USER, CAPABILITIES, PRIVILEGES, EXECUTE };

// In a container a task sees the tree from its own cgroup on, and may not move out of it (cgroup_namespaces(7)): the
// calling thread looks from the first process's instead, where that may be done.
static void leave_cgroup_namespace(void)
{
  int fd = open("/proc/1/ns/cgroup", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  (void)setns(fd, CLONE_NEWCGROUP);
  close(fd);
}

static int join_cgroup(const char *cgroup)
{
  char path[4096];
  if (snprintf(path, sizeof path, "%s/cgroup.procs", cgroup) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  leave_cgroup_namespace();
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  ssize_t written = write(fd, "0", 1);
  int code = errno;
  close(fd);
  errno = code;
  return written == 1 ? 0 : -1;
}

static void *join_on_own_thread(void *argument)
{
  return join_cgroup(argument) == 0 ? NULL : (void *)(intptr_t)errno;
}

int weft_join_cgroup(const char *cgroup)
{
  pthread_t thread;
  void *failed = NULL;
  int code = pthread_create(&thread, NULL, join_on_own_thread, (void *)cgroup);
  if (code == 0)
    code = pthread_join(thread, &failed);
  return code ? code : (int)(intptr_t)failed;
}

static int drop_capabilities(void)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2];
  memset(none, 0, sizeof none);
  return (int)syscall(SYS_capset, &header, none);
}

static int drop_bounding_set(void)
{
  for (int capability = 0; capability <= 63; capability++)
    if (prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EINVAL)
      return -1;
  return 0;
}

static int set_limits(void)
{
  struct rlimit none = {0, 0};
  struct rlimit files = {1048576, 1048576};
  if (setrlimit(RLIMIT_CORE, &none) < 0)
    return -1;
  if (setrlimit(RLIMIT_NOFILE, &files) == 0)
    return 0;
  if (getrlimit(RLIMIT_NOFILE, &files) < 0)
    return -1;
  files.rlim_cur = files.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &files);
}

// Only async-signal-safe calls from here on: the parent has threads.
static int become(const struct weft_spawn *spawn)
{
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  if (spawn->cgroup != NULL && join_cgroup(spawn->cgroup) < 0)
    return CGROUP;
  if (setsid() < 0)
    return SESSION;
  if (spawn->inherited_fd == 3 ? fcntl(3, F_SETFD, 0) < 0 : dup2(spawn->inherited_fd, 3) < 0)
    return HANDOVER;
  if (set_limits() < 0)
    return LIMITS;
  if (setgroups(0, NULL) < 0)
    return GROUPS;
  if (drop_bounding_set() < 0)
    return BOUNDING;
  if (setresgid(spawn->uid, spawn->uid, spawn->uid) < 0 || setresuid(spawn->uid, spawn->uid, spawn->uid) < 0)
    return USER;
  if (drop_capabilities() < 0)
    return CAPABILITIES;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return PRIVILEGES;
  return EXECUTE;
}

pid_t weft_spawn_proxy(const struct weft_spawn *spawn, const char **step)
{
  int report[2];
  *step = STEPS[FORK];
  if (pipe2(report, O_CLOEXEC) < 0)
    return -errno;
  pid_t pid = fork();
  if (pid < 0) {
    int code = errno;
    close(report[0]);
    close(report[1]);
    return -code;
  }
  if (pid == 0) {
    // The report must not stand where the inherited descriptor goes.
    int out = fcntl(report[1], F_DUPFD_CLOEXEC, 64);
    int failed = become(spawn);
    if (failed == EXECUTE) {
      // All but stdio, 3 and the report, which closes by itself when the program starts.
      if (syscall(SYS_close_range, 4, (unsigned)out - 1, 0) < 0 ||
          syscall(SYS_close_range, (unsigned)out + 1, ~0U, 0) < 0)
        failed = CLOSE;
      else
        execv(spawn->path, spawn->argv);
    }
    int message[2] = {failed, errno};
    ssize_t ignored = write(out, message, sizeof message);
    (void)ignored;
    _exit(127);
  }
  close(report[1]);
  int message[2];
  ssize_t length;
  do
    length = read(report[0], message, sizeof message);
  while (length < 0 && errno == EINTR);
  close(report[0]);
  if (length != sizeof message)
    return pid;
  waitpid(pid, NULL, 0);
  *step = STEPS[message[0] >= FORK && message[0] <= EXECUTE ? message[0] : FORK];
  return -message[1];
}

int weft_wait_child(pid_t pid)
{
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR)
      return -errno;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

int weft_pidfd_open(pid_t pid)
{
  int handle = (int)syscall(SYS_pidfd_open, pid, 0);
  return handle < 0 ? -errno : handle;
}

int weft_pidfd_kill(int handle, int signal)
{
  return syscall(SYS_pidfd_send_signal, handle, signal, NULL, 0) < 0 ? -errno : 0;
}

void weft_pidfd_wait(int handle)
{
  struct pollfd end = {.fd = handle, .events = POLLIN};
  while (poll(&end, 1, -1) < 0 && errno == EINTR)
    ;
}
