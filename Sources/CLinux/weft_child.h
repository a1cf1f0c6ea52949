// What every start of a process here shares: fork, a pipe that tells of a failed step, streams and signals.
#pragma once
#include <sys/types.h>

struct weft_child_failure {
  int step;
  int error;
};

/// `step` with what errno says.
struct weft_child_failure weft_child_failed(int step);

/// Forks; the child runs `body`, which executes a program or returns why it couldn't. Every descriptor above 2 is
/// closed by exec. Returns 0 and the pid, or errno and the failed step (0: the fork); in that case no process is left.
int weft_child_start(struct weft_child_failure (*body)(const void *), const void *argument, pid_t *pid, int *step);

/// Makes `from` (-1: /dev/null) the descriptor `to`.
int weft_child_place_stream(int from, int to);

/// Every signal's default action, and none blocked.
void weft_child_default_signals(void);
