#define _GNU_SOURCE
#include "CLibbpf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_BYTES 16384

static _Thread_local char log_text[LOG_BYTES];
static _Thread_local size_t log_used;

// Keeps the end: a verifier's verdict stands in its last lines.
static int keep(enum libbpf_print_level level, const char *format, va_list arguments)
{
  if (level == LIBBPF_DEBUG)
    return 0;
  char *line = NULL;
  int length = vasprintf(&line, format, arguments);
  if (length < 0)
    return 0;
  const char *end = line;
  if (length > LOG_BYTES / 2) {
    end += length - LOG_BYTES / 2;
    length = LOG_BYTES / 2;
  }
  if (log_used + length >= LOG_BYTES) {
    size_t drop = LOG_BYTES / 2;
    if (drop > log_used)
      drop = log_used;
    memmove(log_text, log_text + drop, log_used - drop);
    log_used -= drop;
  }
  memcpy(log_text + log_used, end, length);
  free(line);
  log_used += length;
  log_text[log_used] = 0;
  return 0;
}

void weft_bpf_log_begin(void)
{
  libbpf_set_print(keep);
  log_used = 0;
  log_text[0] = 0;
}

const char *weft_bpf_log(void)
{
  return log_text;
}

struct bpf_object *weft_bpf_open(const char *path, const char *pin_root)
{
  LIBBPF_OPTS(bpf_object_open_opts, options, .pin_root_path = pin_root);
  return bpf_object__open_file(path, &options);
}

int weft_bpf_link_info(int link, struct weft_link_info *info)
{
  struct bpf_link_info found;
  __u32 length = sizeof(found);
  memset(&found, 0, sizeof(found));
  memset(info, 0, sizeof(*info));
  if (bpf_obj_get_info_by_fd(link, &found, &length) != 0)
    return -errno;
  info->id = found.id;
  info->program = found.prog_id;
  if (found.type == BPF_LINK_TYPE_CGROUP) {
    info->attach_type = found.cgroup.attach_type;
    info->target = found.cgroup.cgroup_id;
  } else if (found.type == BPF_LINK_TYPE_NETNS) {
    info->attach_type = found.netns.attach_type;
    info->target = found.netns.netns_ino;
  }
  return 0;
}

int weft_bpf_run_sk_lookup(int program, const struct bpf_sk_lookup *packet, uint32_t *verdict, uint64_t *cookie)
{
  struct bpf_sk_lookup after = *packet;
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = packet, .ctx_size_in = sizeof(*packet), .ctx_out = &after,
              .ctx_size_out = sizeof(after));
  int failed = bpf_prog_test_run_opts(program, &options);
  if (failed)
    return failed < 0 ? failed : -failed;
  *verdict = options.retval;
  *cookie = after.cookie;
  return 0;
}
