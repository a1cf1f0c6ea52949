// SPDX-License-Identifier: GPL-2.0
// connect(): TCP to the proxy's outbound listener, UDP port 53 to its resolver, both on the pod's own loopback.
#include "weft_dns.h"
#include "weft_hold.h"

char LICENSE[] SEC("license") = "GPL";

// A socket may connect again elsewhere: what its storage says about the last time must not outlive it.
static __always_inline int weft_leave(struct bpf_sock_addr *ctx)
{
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, ctx->sk, 0, 0);
  if (stored && stored->role == WEFT_ROLE_CAPTURED)
    stored->role = 0;
  return WEFT_ALLOW;
}

// Judges a connect to `to` and keeps where it wanted to go. WEFT_TAKE: `to` is where it goes instead.
static __always_inline enum weft_verdict weft_capture(struct bpf_sock_addr *ctx, struct weft_address *to, __u16 *port)
{
  bool dns = ctx->protocol == IPPROTO_UDP && *port == bpf_htons(53);
  if (weft_is_local(to))
    return WEFT_PASS;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  if (weft_pod_held(cookie))
    return WEFT_DENY;
  if (ctx->protocol != IPPROTO_TCP && !dns)
    return WEFT_PASS;
  struct weft_state *state = 0;
  enum weft_verdict verdict = weft_judge(cookie, to, &state);
  if (verdict != WEFT_TAKE || !state)
    return verdict;

  struct bpf_sock *sk = ctx->sk;
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!stored) // no memory: refused, as a connect may be
    return WEFT_DENY;
  stored->netns = cookie;
  stored->address = weft_sockaddr_of(to, *port);
  stored->role = WEFT_ROLE_CAPTURED;
  if (sk->bound_dev_if > LOOPBACK_IFINDEX) { // loopback isn't reached through the device that the app chose
    __u32 lo = bpf_htonl(0x6c6f0000);        // "lo"; a string would make a data section, and so a map
    if (bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, &lo, sizeof(lo)))
      return WEFT_DENY;
  }
  if (dns) {
    *to = weft_dns_redirect(state, to);
    *port = bpf_htons(WEFT_PORT_DNS);
    return WEFT_TAKE;
  }
  weft_count(&state->captured);
  *to = weft_is_mapped(to) ? weft_mapped(WEFT_LOOPBACK4) : (struct weft_address){.word = {0, 0, 0, bpf_htonl(1)}};
  *port = bpf_htons(WEFT_PORT_OUTBOUND);
  return WEFT_TAKE;
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
  struct weft_address to = weft_mapped(ctx->user_ip4);
  __u16 port = ctx->user_port;
  enum weft_verdict verdict = weft_capture(ctx, &to, &port);
  if (verdict == WEFT_DENY)
    return WEFT_REFUSE;
  if (verdict == WEFT_PASS)
    return weft_leave(ctx);
  ctx->user_ip4 = to.word[3];
  ctx->user_port = port;
  return WEFT_ALLOW;
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
  struct weft_address to = {.word = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};
  __u16 port = ctx->user_port;
  enum weft_verdict verdict = weft_capture(ctx, &to, &port);
  if (verdict == WEFT_DENY)
    return WEFT_REFUSE;
  if (verdict == WEFT_PASS)
    return weft_leave(ctx);
  ctx->user_ip6[0] = to.word[0];
  ctx->user_ip6[1] = to.word[1];
  ctx->user_ip6[2] = to.word[2];
  ctx->user_ip6[3] = to.word[3];
  ctx->user_port = port;
  return WEFT_ALLOW;
}
