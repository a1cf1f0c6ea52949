// SPDX-License-Identifier: GPL-2.0
// What the proxy asks and says about its sockets, without a right to BPF. Attached to the agent's cgroup, which the
// sockets that it opens in pods (and those accepted on them) belong to, whoever holds them.
#include "weft_dns.h"

char LICENSE[] SEC("license") = "GPL";

// The kernel hands over at most a page of an option's value: a longer one goes by untouched with optlen 0.
#define WEFT_OPTION_PAGE 4096

static __always_inline int weft_untouched(struct bpf_sockopt *ctx)
{
  if (ctx->optlen > WEFT_OPTION_PAGE)
    WEFT_FIELD(ctx->optlen) = 0;
  return 1;
}

// The kernel has answered ENOPROTOOPT before this runs; retval 0 makes it an answer.
static __always_inline int weft_answer(struct bpf_sockopt *ctx, const struct weft_sockaddr *address)
{
  struct weft_sockaddr *value = ctx->optval;
  if ((void *)(value + 1) > ctx->optval_end)
    return weft_untouched(ctx);
  *value = *address;
  WEFT_FIELD(ctx->optlen) = sizeof(*value);
  WEFT_FIELD(ctx->retval) = 0;
  return 1;
}

// SO_ORIGINAL_DST as netfilter gives it.
static __always_inline int weft_answer_classic(struct bpf_sockopt *ctx, const struct weft_sockaddr *address)
{
  if (ctx->level == SOL_IP && address->family == AF_INET) {
    struct sockaddr_in *value = ctx->optval;
    if ((void *)(value + 1) > ctx->optval_end)
      return weft_untouched(ctx);
    __builtin_memset(value, 0, sizeof(*value));
    value->sin_family = AF_INET;
    value->sin_port = address->port;
    value->sin_addr.s_addr = address->word[0];
    WEFT_FIELD(ctx->optlen) = sizeof(*value);
    WEFT_FIELD(ctx->retval) = 0;
  } else if (ctx->level == SOL_IPV6 && address->family == AF_INET6) {
    struct sockaddr_in6 *value = ctx->optval;
    if ((void *)(value + 1) > ctx->optval_end)
      return weft_untouched(ctx);
    __builtin_memset(value, 0, sizeof(*value));
    value->sin6_family = AF_INET6;
    value->sin6_port = address->port;
    __builtin_memcpy(&value->sin6_addr, address->word, 16);
    WEFT_FIELD(ctx->optlen) = sizeof(*value);
    WEFT_FIELD(ctx->retval) = 0;
  }
  return 1;
}

static __always_inline int weft_answer_dns(struct bpf_sockopt *ctx, __u32 slot)
{
  struct weft_address at = {.word = {0, 0, 0, bpf_htonl(1)}};
  if (slot < WEFT_DNS_SLOTS4)
    at = weft_mapped(bpf_htonl(WEFT_DNS_ADDRESS4 + slot));
  struct weft_address server;
  if (!weft_dns_server(bpf_get_netns_cookie(ctx), &at, &server))
    return 1;
  struct weft_sockaddr address = weft_sockaddr_of(&server, bpf_htons(53));
  return weft_answer(ctx, &address);
}

SEC("cgroup/getsockopt")
int weft_getsockopt(struct bpf_sockopt *ctx)
{
  __u32 name = ctx->optname;
  if (ctx->level == SOL_IP && name - WEFT_SO_DNS_SERVER_BASE <= WEFT_DNS_SLOT6)
    return weft_answer_dns(ctx, name - WEFT_SO_DNS_SERVER_BASE);
  bool own = ctx->level == SOL_IP && name == WEFT_SO_ORIGINAL_DST;
  bool classic = (ctx->level == SOL_IP || ctx->level == SOL_IPV6) && name == SO_ORIGINAL_DST;
  struct bpf_sock *sk = ctx->sk;
  if ((!own && !classic) || !sk)
    return weft_untouched(ctx);
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, sk, 0, 0);
  if (!stored || stored->role != WEFT_ROLE_ACCEPTED)
    return weft_untouched(ctx);
  return own ? weft_answer(ctx, &stored->address) : weft_answer_classic(ctx, &stored->address);
}

// optlen -1 keeps the kernel from handling (and refusing) the option; 0 returned is EPERM.
SEC("cgroup/setsockopt")
int weft_setsockopt(struct bpf_sockopt *ctx)
{
  if (ctx->level != SOL_IP || ctx->optname != WEFT_SO_CLIENT_ADDRESS)
    return weft_untouched(ctx);
  struct weft_sockaddr *value = ctx->optval;
  struct bpf_sock *sk = ctx->sk;
  if ((void *)(value + 1) > ctx->optval_end || !sk || sk->protocol != IPPROTO_TCP)
    return 0;
  if (value->family != AF_INET && value->family != AF_INET6)
    return 0;
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (!stored)
    return 0;
  stored->netns = bpf_get_netns_cookie(ctx);
  stored->address = *value;
  stored->role = WEFT_ROLE_DELIVERING;
  WEFT_FIELD(ctx->optlen) = -1;
  return 1;
}
