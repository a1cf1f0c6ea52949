// SPDX-License-Identifier: GPL-2.0
// What sockets are told about their ends: the client's socket shows where it wanted to go and the pod's address, the
// server's socket (accept and getpeername) shows the true client.
#include "weft_kernel.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline struct weft_socket *weft_peer(struct bpf_sock_addr *ctx)
{
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, ctx->sk, 0, 0);
  if (stored && (stored->role == WEFT_ROLE_CAPTURED || stored->role == WEFT_ROLE_DELIVERED))
    return stored;
  return 0;
}

SEC("cgroup/getpeername4")
int weft_getpeername4(struct bpf_sock_addr *ctx)
{
  struct weft_socket *stored = weft_peer(ctx);
  if (stored) {
    bool v4 = stored->address.family == AF_INET;
    ctx->user_ip4 = v4 ? stored->address.word[0] : bpf_htonl(WEFT_UNKNOWN_CLIENT4);
    ctx->user_port = stored->address.port;
  }
  return WEFT_ALLOW;
}

SEC("cgroup/getpeername6")
int weft_getpeername6(struct bpf_sock_addr *ctx)
{
  struct weft_socket *stored = weft_peer(ctx);
  if (!stored)
    return WEFT_ALLOW;
  bool v4 = stored->address.family == AF_INET;
  ctx->user_ip6[0] = v4 ? 0 : stored->address.word[0];
  ctx->user_ip6[1] = v4 ? 0 : stored->address.word[1];
  ctx->user_ip6[2] = v4 ? WEFT_MAPPED : stored->address.word[2];
  ctx->user_ip6[3] = v4 ? stored->address.word[0] : stored->address.word[3];
  ctx->user_port = stored->address.port;
  return WEFT_ALLOW;
}

// The pod of a captured socket; its address is shown only in place of the loopback that the redirect chose.
static __always_inline struct weft_netns *weft_pod_of(struct bpf_sock_addr *ctx)
{
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, ctx->sk, 0, 0);
  if (!stored || stored->role != WEFT_ROLE_CAPTURED)
    return 0;
  __u64 cookie = stored->netns;
  return bpf_map_lookup_elem(&weft_netns, &cookie);
}

SEC("cgroup/getsockname4")
int weft_getsockname4(struct bpf_sock_addr *ctx)
{
  __u32 ip4 = ctx->user_ip4;
  if (ip4 == 0 || !weft_is_local4(ip4))
    return WEFT_ALLOW;
  struct weft_netns *netns = weft_pod_of(ctx);
  if (netns && netns->address4)
    ctx->user_ip4 = netns->address4;
  return WEFT_ALLOW;
}

SEC("cgroup/getsockname6")
int weft_getsockname6(struct bpf_sock_addr *ctx)
{
  struct weft_address own = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  if (own.word[3] == 0 || !weft_is_local(&own))
    return WEFT_ALLOW;
  struct weft_netns *netns = weft_pod_of(ctx);
  if (!netns)
    return WEFT_ALLOW;
  if (weft_is_mapped(&own)) {
    if (netns->address4)
      ctx->user_ip6[3] = netns->address4;
  } else if (netns->address6.word[0] || netns->address6.word[1]) {
    ctx->user_ip6[0] = netns->address6.word[0];
    ctx->user_ip6[1] = netns->address6.word[1];
    ctx->user_ip6[2] = netns->address6.word[2];
    ctx->user_ip6[3] = netns->address6.word[3];
  }
  return WEFT_ALLOW;
}
