#define _GNU_SOURCE
#include "weft_lab.h"
#include "weft_child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum step {
  STEP_NONE,
  STEP_FORK,
  STEP_CGROUP,
  STEP_NETWORK,
  STEP_MOUNT,
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
    [STEP_MOUNT] = "binding resolv.conf and hosts in a mount namespace",
    [STEP_HOSTNAME] = "setting the host name in a UTS namespace",
    [STEP_DIRECTORY] = "changing to the working directory",
    [STEP_STREAMS] = "opening the standard streams",
    [STEP_USER] = "changing the user",
    [STEP_PRIVILEGES] = "dropping capabilities",
    [STEP_EXEC] = "executing the program",
};

static int drop_bounding_set(void)
{
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
      return -1;
  return 0;
}

static int drop_capabilities(void)
{
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2];
  memset(none, 0, sizeof none);
  if (syscall(SYS_capset, &header, none) < 0)
    return -1;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/// Everything before exec. The cgroup comes first: whatever follows is then found by it.
static struct weft_child_failure enter(const struct weft_lab_process *p)
{
  if (p->node_namespace >= 0 && setns(p->node_namespace, CLONE_NEWNET) < 0)
    return weft_child_failed(STEP_NETWORK);
  if (p->cgroup_procs >= 0 && write(p->cgroup_procs, "0", 1) != 1)
    return weft_child_failed(STEP_CGROUP);
  if (p->network_namespace >= 0 && setns(p->network_namespace, CLONE_NEWNET) < 0)
    return weft_child_failed(STEP_NETWORK);
  if (p->binds && p->binds->source) {
    // Slave, not private: an unmount on the machine (of a namespace's name) is seen here too.
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
      return weft_child_failed(STEP_MOUNT);
    for (const struct weft_lab_bind *bind = p->binds; bind->source; bind++)
      if (mount(bind->source, bind->target, NULL, MS_BIND, NULL) < 0)
        return weft_child_failed(STEP_MOUNT);
  }
  if (p->hostname && (unshare(CLONE_NEWUTS) < 0 || sethostname(p->hostname, strlen(p->hostname)) < 0))
    return weft_child_failed(STEP_HOSTNAME);
  if (p->directory && chdir(p->directory) < 0)
    return weft_child_failed(STEP_DIRECTORY);
  // The bounding set goes before the user, whose change takes the right to drop it.
  if (p->without_privileges && drop_bounding_set() < 0)
    return weft_child_failed(STEP_PRIVILEGES);
  if (p->user && (setgroups(0, NULL) < 0 || setgid(p->user) < 0 || setuid(p->user) < 0))
    return weft_child_failed(STEP_USER);
  if (p->without_privileges && drop_capabilities() < 0)
    return weft_child_failed(STEP_PRIVILEGES);
  return (struct weft_child_failure){STEP_NONE, 0};
}

static struct weft_child_failure run(const void *argument)
{
  const struct weft_lab_process *p = argument;
  if (p->new_session)
    setsid();
  if (p->parent_death_signal)
    prctl(PR_SET_PDEATHSIG, p->parent_death_signal, 0, 0, 0);
  struct weft_child_failure failure = enter(p);
  if (failure.step != STEP_NONE)
    return failure;
  if (weft_child_place_stream(p->standard_input, 0) < 0 || weft_child_place_stream(p->standard_output, 1) < 0 ||
      weft_child_place_stream(p->standard_error, 2) < 0)
    return weft_child_failed(STEP_STREAMS);
  execve(p->path, p->argv, p->envp);
  return weft_child_failed(STEP_EXEC);
}

int weft_lab_spawn(const struct weft_lab_process *p, pid_t *pid, const char **step)
{
  int failed = 0;
  int error = weft_child_start(run, p, p->new_process_namespace ? WEFT_CHILD_NEW_PROCESSES : WEFT_CHILD_SAME_PROCESSES,
                               pid, &failed);
  *step = step_names[failed ? failed : STEP_FORK];
  return error;
}

int weft_lab_exec(const struct weft_lab_process *p, const char **step)
{
  struct weft_child_failure failure = enter(p);
  if (failure.step == STEP_NONE) {
    weft_child_default_signals();
    // What the caller passed stays open, as through any exec; what this program opened is close-on-exec.
    execve(p->path, p->argv, p->envp);
    failure = weft_child_failed(STEP_EXEC);
  }
  *step = step_names[failure.step];
  return failure.error;
}

struct settings_job {
  int network_namespace;
  const struct weft_lab_setting *settings;
  size_t count, failed;
  int error;
};

static void *write_settings(void *argument)
{
  struct settings_job *job = argument;
  job->failed = job->count;
  if (setns(job->network_namespace, CLONE_NEWNET) < 0) {
    job->error = errno;
    return NULL;
  }
  for (size_t i = 0; i < job->count; i++) {
    const struct weft_lab_setting *setting = &job->settings[i];
    int file = open(setting->path, O_WRONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT)
      continue;
    ssize_t length = (ssize_t)strlen(setting->value);
    ssize_t written = file < 0 ? -1 : write(file, setting->value, (size_t)length);
    int error = errno;
    if (file >= 0)
      close(file);
    if (written != length) {
      job->failed = i;
      job->error = error;
      return NULL;
    }
  }
  return NULL;
}

int weft_lab_write_settings(int network_namespace, const struct weft_lab_setting *settings, size_t count,
                            size_t *failed)
{
  struct settings_job job = {network_namespace, settings, count, count, 0};
  pthread_t thread;
  int error = pthread_create(&thread, NULL, write_settings, &job);
  if (error)
    return error;
  pthread_join(thread, NULL);
  *failed = job.failed;
  return job.error;
}

int weft_lab_pipe(int ends[2])
{
  return pipe2(ends, O_CLOEXEC);
}

int weft_lab_memory_file(void)
{
  return memfd_create("weft-lab", MFD_CLOEXEC);
}

static volatile sig_atomic_t remembered;

static void remember(int signal)
{
  remembered = signal;
}

void weft_lab_remember_interrupts(void)
{
  // No SA_RESTART: a wait ends with EINTR and its loop looks at weft_lab_interrupt().
  struct sigaction action = {.sa_handler = remember};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  // Whoever started this program may have blocked them.
  sigset_t both;
  sigemptyset(&both);
  sigaddset(&both, SIGINT);
  sigaddset(&both, SIGTERM);
  pthread_sigmask(SIG_UNBLOCK, &both, NULL);
}

int weft_lab_interrupt(void)
{
  return remembered;
}
