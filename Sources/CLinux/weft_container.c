#define _GNU_SOURCE
#include "weft_container.h"
#include "weft_child.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

enum step {
  STEP_NONE,
  STEP_FORK,
  STEP_CGROUP,
  STEP_NETWORK,
  STEP_JOIN,
  STEP_ROOT,
  STEP_SOURCE,
  STEP_TARGET,
  STEP_HOSTNAME,
  STEP_DIRECTORY,
  STEP_STREAMS,
  STEP_USER,
  STEP_PRIVILEGES,
  STEP_EXEC,
};

static const char *const step_names[] = {
    [STEP_NONE] = "nothing",
    [STEP_FORK] = "starting a process",
    [STEP_CGROUP] = "joining the cgroup",
    [STEP_NETWORK] = "entering the network namespace",
    [STEP_JOIN] = "entering the container's namespaces",
    [STEP_ROOT] = "making the root file system",
    [STEP_SOURCE] = "opening a volume",
    [STEP_TARGET] = "mounting a volume",
    [STEP_HOSTNAME] = "setting the host name",
    [STEP_DIRECTORY] = "changing to the working directory",
    [STEP_STREAMS] = "opening the standard streams",
    [STEP_USER] = "changing the user",
    [STEP_PRIVILEGES] = "dropping capabilities",
    [STEP_EXEC] = "executing the program",
};

enum { MAXIMUM_MOUNTS = 512 };

/// Makes the folders above `path`, and `path` itself as a folder or an empty file.
static int make_target(const char *path, bool is_folder)
{
  char copy[PATH_MAX];
  if (strlen(path) >= sizeof copy) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(copy, path);
  for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    if (mkdir(copy, 0755) < 0 && errno != EEXIST)
      return -1;
    *slash = '/';
  }
  if (is_folder)
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -1 : 0;
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0)
    return errno == EISDIR ? 0 : -1;
  return close(file);
}

static struct weft_child_failure make_root(const struct weft_container *c)
{
  int trees[MAXIMUM_MOUNTS];
  bool is_folder[MAXIMUM_MOUNTS];
  errno = E2BIG;
  if (c->mount_count > MAXIMUM_MOUNTS || unshare(CLONE_NEWNS) < 0 ||
      mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 || mount("overlay", c->root, "overlay", 0, c->overlay) < 0)
    return weft_child_failed(STEP_ROOT);
  for (size_t i = 0; i < c->mount_count; i++) {
    struct stat info;
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (c->mounts[i].recursive ? AT_RECURSIVE : 0);
    trees[i] = open_tree(AT_FDCWD, c->mounts[i].source, flags);
    if (trees[i] < 0 || fstat(trees[i], &info) < 0)
      return weft_child_failed(STEP_SOURCE);
    is_folder[i] = S_ISDIR(info.st_mode);
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    if (c->mounts[i].read_only &&
        mount_setattr(trees[i], "", AT_EMPTY_PATH | (c->mounts[i].recursive ? AT_RECURSIVE : 0), &attributes,
                      sizeof attributes) < 0)
      return weft_child_failed(STEP_SOURCE);
  }
  // The old root comes to lie over the new one, and goes (pivot_root(2), NOTES).
  if (chdir(c->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
    return weft_child_failed(STEP_ROOT);
  // In the new root, so that a link on the way to a target leads nowhere else.
  for (size_t i = 0; i < c->mount_count; i++) {
    if (make_target(c->mounts[i].target, is_folder[i]) < 0 ||
        move_mount(trees[i], "", AT_FDCWD, c->mounts[i].target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0)
      return weft_child_failed(STEP_TARGET);
    close(trees[i]);
  }
  // Numbers as they are in the PID namespace that this process was made in.
  if (c->process_namespace >= 0 &&
      (make_target("/proc", true) < 0 || mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0))
    return weft_child_failed(STEP_ROOT);
  if (c->read_only_root && mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
    return weft_child_failed(STEP_ROOT);
  return (struct weft_child_failure){STEP_NONE, 0};
}

static int bound_capabilities(uint64_t wanted)
{
  for (int capability = 0; capability < 64 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (!(wanted >> capability & 1) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
      return -1;
  return 0;
}

static struct weft_child_failure enter(const struct weft_container *c)
{
  if (c->node_namespace >= 0 && setns(c->node_namespace, CLONE_NEWNET) < 0)
    return weft_child_failed(STEP_NETWORK);
  if (c->cgroup_procs >= 0 && write(c->cgroup_procs, "0", 1) != 1)
    return weft_child_failed(STEP_CGROUP);
  if (c->joined >= 0) {
    if (setns(c->joined, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP) < 0)
      return weft_child_failed(STEP_JOIN);
  } else {
    if (c->network_namespace >= 0 && setns(c->network_namespace, CLONE_NEWNET) < 0)
      return weft_child_failed(STEP_NETWORK);
    struct weft_child_failure failure = make_root(c);
    if (failure.step != STEP_NONE)
      return failure;
    // As runtimes do where the tree is version 2: it sees the tree from its own cgroup on.
    if (unshare(CLONE_NEWCGROUP) < 0)
      return weft_child_failed(STEP_CGROUP);
    if (c->hostname && (unshare(CLONE_NEWUTS) < 0 || sethostname(c->hostname, strlen(c->hostname)) < 0))
      return weft_child_failed(STEP_HOSTNAME);
  }
  if (chdir(c->directory ? c->directory : "/") < 0)
    return weft_child_failed(STEP_DIRECTORY);
  return (struct weft_child_failure){STEP_NONE, 0};
}

static struct weft_child_failure drop_privileges(const struct weft_container *c)
{
  // The bounding set goes before the user, whose change takes the right to drop it; exec draws root's rights from it.
  if (bound_capabilities(c->capabilities) < 0)
    return weft_child_failed(STEP_PRIVILEGES);
  if (setgroups(c->group_count, c->groups) < 0 || setresgid(c->group, c->group, c->group) < 0 ||
      setresuid(c->user, c->user, c->user) < 0)
    return weft_child_failed(STEP_USER);
  if (c->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return weft_child_failed(STEP_PRIVILEGES);
  return (struct weft_child_failure){STEP_NONE, 0};
}

/// execve along envp's PATH: execvpe would take this process's own.
static struct weft_child_failure execute(const struct weft_container *c)
{
  if (strchr(c->path, '/')) {
    execve(c->path, c->argv, c->envp);
    return weft_child_failed(STEP_EXEC);
  }
  const char *search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (char *const *variable = c->envp; *variable; variable++)
    if (strncmp(*variable, "PATH=", 5) == 0)
      search = *variable + 5;
  int error = ENOENT;
  for (const char *part = search; *part;) {
    size_t length = strcspn(part, ":");
    char candidate[PATH_MAX];
    if (length && length + strlen(c->path) + 2 <= sizeof candidate) {
      memcpy(candidate, part, length);
      candidate[length] = '/';
      strcpy(candidate + length + 1, c->path);
      execve(candidate, c->argv, c->envp);
      if (errno != ENOENT && errno != ENOTDIR)
        error = errno;
    }
    part += length;
    part += *part == ':';
  }
  return (struct weft_child_failure){STEP_EXEC, error};
}

static struct weft_child_failure run(const void *argument)
{
  const struct weft_container *c = argument;
  setsid();
  // Streams first: what they are open on needs no rights of the container's.
  if (weft_child_place_stream(c->standard_input, 0) < 0 || weft_child_place_stream(c->standard_output, 1) < 0 ||
      weft_child_place_stream(c->standard_error, 2) < 0 || (c->terminal && ioctl(0, TIOCSCTTY, 0) < 0))
    return weft_child_failed(STEP_STREAMS);
  struct weft_child_failure failure = enter(c);
  if (failure.step == STEP_NONE)
    failure = drop_privileges(c);
  if (failure.step == STEP_NONE)
    failure = execute(c);
  return failure;
}

int weft_container_spawn(const struct weft_container *container, pid_t *pid, const char **step)
{
  int failed = 0;
  int error = weft_child_start(run, container, container->process_namespace, pid, &failed);
  *step = step_names[failed ? failed : STEP_FORK];
  return error;
}

int weft_container_hide(const char *folder)
{
  return setxattr(folder, "trusted.overlay.opaque", "y", 1, 0) < 0 ? errno : 0;
}

struct connect_job {
  int network_namespace;
  uint32_t address;
  uint16_t port;
  int milliseconds;
  int result;
};

static int finish_connect(const struct connect_job *job, int fd)
{
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(job->port), .sin_addr.s_addr = htonl(job->address)};
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    return -errno;
  struct pollfd wait = {.fd = fd, .events = POLLOUT};
  int ready = poll(&wait, 1, job->milliseconds);
  if (ready <= 0)
    return ready < 0 ? -errno : -ETIMEDOUT;
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
    return -errno;
  if (error)
    return -error;
  struct timeval bound = {job->milliseconds / 1000, job->milliseconds % 1000 * 1000};
  if (fcntl(fd, F_SETFL, 0) < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound) < 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) < 0)
    return -errno;
  return fd;
}

static void *connect_inside(void *argument)
{
  struct connect_job *job = argument;
  if (setns(job->network_namespace, CLONE_NEWNET) < 0) {
    job->result = -errno;
    return NULL;
  }
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  job->result = fd < 0 ? -errno : finish_connect(job, fd);
  if (job->result < 0 && fd >= 0)
    close(fd);
  return NULL;
}

/// A thread of its own: its namespace ends with it.
static int inside(void *(*body)(void *), struct connect_job *job)
{
  pthread_t thread;
  int error = pthread_create(&thread, NULL, body, job);
  if (error)
    return -error;
  pthread_join(thread, NULL);
  return job->result;
}

int weft_container_connect(int network_namespace, uint32_t address, uint16_t port, int milliseconds)
{
  struct connect_job job = {network_namespace, address, port, milliseconds, 0};
  return inside(connect_inside, &job);
}

static void *listen_inside(void *argument)
{
  struct connect_job *job = argument;
  if (setns(job->network_namespace, CLONE_NEWNET) < 0) {
    job->result = -errno;
    return NULL;
  }
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(job->port)};
  bool listens = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 128) == 0;
  job->result = listens ? fd : -errno;
  if (!listens && fd >= 0)
    close(fd);
  return NULL;
}

int weft_container_listen(int network_namespace, uint16_t port)
{
  struct connect_job job = {network_namespace, 0, port, 0, 0};
  return inside(listen_inside, &job);
}
