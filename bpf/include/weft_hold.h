/* SPDX-License-Identifier: GPL-2.0
 * Pods that are held before their namespace is known: by the cgroup of the task that asks. */
#ifndef WEFT_HOLD_H
#define WEFT_HOLD_H

#include "weft_decides.h"

/* May this task's pod not talk yet? The pod's cgroup is at another depth for each class of service and each driver: all
 * are looked up, from the root down. */
static __noinline bool weft_pod_held(__u64 cookie)
{
  __u32 zero = 0;
  struct weft_hold_scope *scope = bpf_map_lookup_elem(&weft_hold_scope, &zero);
  if (!scope || !scope->node || scope->node == cookie)
    return false;
  __u32 found = 0;
  for (int level = 0; level < WEFT_HOLD_DEPTH; level++) {
    __u64 id = bpf_get_current_ancestor_cgroup_id(level);
    if (!id)
      break;
    if (weft_decides(id, &found))
      break;
  }
  if (found == WEFT_POD_FOLDER)
    return bpf_ktime_get_ns() < scope->unseen_until;
  if (found == WEFT_POD_ENROLLED)
    return !bpf_map_lookup_elem(&weft_netns, &cookie);
  return found == WEFT_POD_HELD;
}

#endif
