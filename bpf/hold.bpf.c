// SPDX-License-Identifier: GPL-2.0
// A held pod makes no socket whose packets the connect and sendmsg hooks don't see: raw, ping, SCTP and the like.
#include "weft_hold.h"

char LICENSE[] SEC("license") = "GPL";

#define SOCK_RAW 3

SEC("cgroup/sock_create")
int weft_sock_create(struct bpf_sock *ctx)
{
  bool seen = ctx->type != SOCK_RAW && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP);
  if (seen || !weft_pod_held(bpf_get_netns_cookie(ctx)))
    return WEFT_ALLOW;
  return WEFT_REFUSE;
}
