/* SPDX-License-Identifier: GPL-2.0
 * What the agent has said of cgroups. */
#ifndef WEFT_DECIDES_H
#define WEFT_DECIDES_H

#include "weft_kernel.h"

/* Adds what is known of a cgroup to `found`, from the root down. Is that all there is to know? */
static __always_inline bool weft_decides(__u64 cgroup, __u32 *found)
{
  __u32 *entry = bpf_map_lookup_elem(&weft_hold, &cgroup);
  if (!entry)
    return false;
  *found = *entry;
  return *entry != WEFT_POD_FOLDER;
}

#endif
