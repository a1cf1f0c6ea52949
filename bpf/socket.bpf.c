// SPDX-License-Identifier: GPL-2.0
// socket(): none of Multipath TCP in an enrolled pod. Its connects run no cgroup/connect program: they would leave in
// plaintext, whatever the mesh demands. Who asks for one falls back to TCP where it's refused, as where a kernel lacks
// it.
#include "weft_kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define WEFT_IPPROTO_MPTCP 262

SEC("cgroup/sock_create")
int weft_sock_create(struct bpf_sock *ctx)
{
  if (ctx->protocol != WEFT_IPPROTO_MPTCP)
    return WEFT_ALLOW;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  if (!bpf_map_lookup_elem(&weft_netns, &cookie))
    return WEFT_ALLOW;
  __u64 task = bpf_get_current_cgroup_id();
  return bpf_map_lookup_elem(&weft_bypass, &task) ? WEFT_ALLOW : WEFT_REFUSE;
}
