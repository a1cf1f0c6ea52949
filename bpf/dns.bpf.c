// SPDX-License-Identifier: GPL-2.0
// Unconnected UDP sockets: a held pod sends nothing; queries to port 53 go to the resolver, its replies seem to come
// from the server asked.
#include "weft_dns.h"
#include "weft_hold.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline enum weft_verdict weft_query(struct bpf_sock_addr *ctx, struct weft_address *to)
{
  if (weft_is_local(to))
    return WEFT_PASS;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  if (weft_pod_held(cookie))
    return WEFT_DENY;
  if (ctx->protocol != IPPROTO_UDP || (__u16)ctx->user_port != bpf_htons(53))
    return WEFT_PASS;
  struct weft_state *state = 0;
  enum weft_verdict verdict = weft_judge(cookie, to, &state);
  if (verdict == WEFT_TAKE && state)
    *to = weft_dns_redirect(state, to);
  return verdict;
}

// A connected socket knows its server; an unconnected one is told by the slot.
static __always_inline bool weft_reply(struct bpf_sock_addr *ctx, struct weft_address *from)
{
  if (ctx->protocol != IPPROTO_UDP || (__u16)ctx->user_port != bpf_htons(WEFT_PORT_DNS) || !weft_is_local(from))
    return false;
  struct weft_address server;
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, ctx->sk, 0, 0);
  if (stored && stored->role == WEFT_ROLE_CAPTURED) {
    if (stored->address.family == AF_INET)
      *from = weft_mapped(stored->address.word[0]);
    else
      __builtin_memcpy(from, stored->address.word, sizeof(*from));
    return true;
  }
  if (!weft_dns_server(bpf_get_netns_cookie(ctx), from, &server))
    return false;
  *from = server;
  return true;
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
  struct weft_address to = weft_mapped(ctx->user_ip4);
  enum weft_verdict verdict = weft_query(ctx, &to);
  if (verdict == WEFT_DENY)
    return WEFT_REFUSE;
  if (verdict == WEFT_TAKE) {
    ctx->user_ip4 = to.word[3];
    ctx->user_port = bpf_htons(WEFT_PORT_DNS);
  }
  return WEFT_ALLOW;
}

// An IPv4-mapped destination never comes here: the kernel hands it to the IPv4 path, and so to weft_sendmsg4.
SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
  struct weft_address to = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  enum weft_verdict verdict = weft_query(ctx, &to);
  if (verdict == WEFT_DENY)
    return WEFT_REFUSE;
  if (verdict == WEFT_TAKE) {
    ctx->user_ip6[0] = to.word[0];
    ctx->user_ip6[1] = to.word[1];
    ctx->user_ip6[2] = to.word[2];
    ctx->user_ip6[3] = to.word[3];
    ctx->user_port = bpf_htons(WEFT_PORT_DNS);
  }
  return WEFT_ALLOW;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
  struct weft_address from = weft_mapped(ctx->user_ip4);
  if (weft_reply(ctx, &from)) {
    ctx->user_ip4 = from.word[3];
    ctx->user_port = bpf_htons(53);
  }
  return WEFT_ALLOW;
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
  struct weft_address from = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  if (weft_reply(ctx, &from)) {
    ctx->user_ip6[0] = from.word[0];
    ctx->user_ip6[1] = from.word[1];
    ctx->user_ip6[2] = from.word[2];
    ctx->user_ip6[3] = from.word[3];
    ctx->user_port = bpf_htons(53);
  }
  return WEFT_ALLOW;
}
