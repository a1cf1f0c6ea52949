#define _GNU_SOURCE
#include "weft_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct weft_child_failure weft_child_failed(int step)
{
  return (struct weft_child_failure){step, errno};
}

int weft_child_place_stream(int from, int to)
{
  if (from < 0)
    from = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (from < 0)
    return -1;
  if (from != to)
    return dup2(from, to);
  // dup2 on itself would keep close-on-exec.
  return fcntl(from, F_SETFD, 0);
}

void weft_child_default_signals(void)
{
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int signal = 1; signal < NSIG; signal++)
    sigaction(signal, &action, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/// fork, with the child in another PID namespace: this thread's children are for as long as it takes.
static pid_t fork_into(int process_namespace)
{
  if (process_namespace == WEFT_CHILD_SAME_PROCESSES)
    return fork();
  int own = open("/proc/thread-self/ns/pid_for_children", O_RDONLY | O_CLOEXEC);
  if (own < 0)
    return -1;
  int entered =
      process_namespace == WEFT_CHILD_NEW_PROCESSES ? unshare(CLONE_NEWPID) : setns(process_namespace, CLONE_NEWPID);
  pid_t child = entered < 0 ? -1 : fork();
  if (child != 0) {
    int error = errno;
    // Without this the thread could start no other: nothing here goes on after that.
    if (entered == 0 && setns(own, CLONE_NEWPID) < 0)
      abort();
    close(own);
    errno = error;
  }
  return child;
}

int weft_child_start(struct weft_child_failure (*body)(const void *), const void *argument, int process_namespace,
                     pid_t *pid, int *step)
{
  int report[2];
  *step = 0;
  if (pipe2(report, O_CLOEXEC) < 0)
    return errno;
  // The standard streams are placed on 0, 1 and 2: the report must not be among them.
  for (int end = 0; end < 2; end++) {
    if (report[end] > 2)
      continue;
    int moved = fcntl(report[end], F_DUPFD_CLOEXEC, 3);
    close(report[end]);
    report[end] = moved;
  }
  // No handler of the parent may run in the child before the defaults are back.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t child = fork_into(process_namespace);
  if (child == 0) {
    weft_child_default_signals();
    // The report pipe is close-on-exec, so that exec itself tells the parent of success.
    syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
    struct weft_child_failure failure = body(argument);
    ssize_t written = write(report[1], &failure, sizeof failure);
    _exit(written == sizeof failure ? 127 : 126);
  }
  int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(report[1]);
  if (child < 0) {
    close(report[0]);
    return fork_error;
  }
  struct weft_child_failure failure = {0, 0};
  ssize_t got;
  do
    got = read(report[0], &failure, sizeof failure);
  while (got < 0 && errno == EINTR);
  close(report[0]);
  if (got == sizeof failure) {
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    *step = failure.step;
    return failure.error;
  }
  *pid = child;
  return 0;
}
