// What every start of a process here shares: fork, a pipe that tells of a failed step, streams and signals.
#pragma once
#include <sys/types.h>

struct weft_child_failure {
  int step;
  int error;
};

/// `step` with what errno says.
struct weft_child_failure weft_child_failed(int step);

/// Where a child's PID namespace isn't its parent's: the number of an open one, or one of these.
enum { WEFT_CHILD_SAME_PROCESSES = -1, WEFT_CHILD_NEW_PROCESSES = -2 };

/// Forks; the child runs `body`, which executes a program or returns why it couldn't. Every descriptor above 2 is
/// closed by exec. Returns 0 and the pid (the parent's), or errno and the failed step (0: the fork); in that case no process
/// is left.
int weft_child_start(struct weft_child_failure (*body)(const void *), const void *argument, int process_namespace,
                     pid_t *pid, int *step);

/// Makes `from` (-1: /dev/null) the descriptor `to`.
int weft_child_place_stream(int from, int to);

/// Every signal's default action, and none blocked.
void weft_child_default_signals(void);
