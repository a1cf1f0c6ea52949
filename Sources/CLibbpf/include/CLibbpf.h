#pragma once
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <stdint.h>

#include "../../../bpf/include/weft_maps.h"

// What Swift can't say to libbpf itself: variadic logging, option structures, unions of results.

// libbpf's and the verifier's last words on this thread, at most 16 KiB; kept instead of printed from the first call
// of weft_bpf_log_begin() on.
void weft_bpf_log_begin(void);
const char *weft_bpf_log(void);

// NULL: errno. Maps marked LIBBPF_PIN_BY_NAME are pinned in, and reused from, `pin_root`.
struct bpf_object *weft_bpf_open(const char *path, const char *pin_root);

struct weft_link_info {
  uint32_t id;
  uint32_t program;
  uint32_t attach_type;
  uint64_t target; // cgroup id, or network namespace inode; 0: the target is gone
};

// 0 or -errno.
int weft_bpf_link_info(int link, struct weft_link_info *info);

// Runs an sk_lookup program once on a made-up packet. 0 or -errno.
int weft_bpf_run_sk_lookup(int program, const struct bpf_sk_lookup *packet, uint32_t *verdict, uint64_t *cookie);
