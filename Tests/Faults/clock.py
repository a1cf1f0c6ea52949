"""A wrong clock for one program: a preloaded library that shifts what it reads, by as many seconds as a file says."""
import os, subprocess

# The wall clock only: timers go by the monotonic one, which nobody sets.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, t);
  const char *path = getenv("CLOCK_SHIFT_FILE");
  if (result == 0 && id == CLOCK_REALTIME && path) {
    FILE *file = fopen(path, "re");
    long shift = 0;
    if (file) { if (fscanf(file, "%ld", &shift) != 1) shift = 0; fclose(file); }
    t->tv_sec += shift;
  }
  return result;
}
"""


def library(folder):
    """Builds it there."""
    path = f"{folder}/shift.so"
    subprocess.run(["clang-14", "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", path, "-ldl"], input=SHIM, text=True, check=True)
    return path


def environment(library, file):
    return {"LD_PRELOAD": library, "CLOCK_SHIFT_FILE": file}


def shift(file, seconds):
    with open(file + ".new", "w") as new:
        new.write(str(seconds))
    os.rename(file + ".new", file)
