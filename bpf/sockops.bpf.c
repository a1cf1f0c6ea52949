// SPDX-License-Identifier: GPL-2.0
// The rendezvous of a connection's two ends inside a pod's namespace, and what its flows cost.
//
// The connecting side writes an entry as its SYN leaves; the accepting side, established, moves it into its own
// socket's storage. That runs before accept() can return the socket: accept takes the socket's lock, and this runs
// under it. So an entry lives for one handshake.
#include "weft_kernel.h"

char LICENSE[] SEC("license") = "GPL";

#define WEFT_SOCKOPS_DONE 1

static __always_inline void weft_key_of(struct bpf_sock_ops *ctx, __u64 cookie, struct weft_flow_key *key)
{
  __builtin_memset(key, 0, sizeof(*key));
  key->netns = cookie;
  if (ctx->family == AF_INET) {
    key->local = weft_mapped(WEFT_FIELD(ctx->local_ip4));
    key->remote = weft_mapped(WEFT_FIELD(ctx->remote_ip4));
  } else {
    key->local.word[0] = ctx->local_ip6[0];
    key->local.word[1] = ctx->local_ip6[1];
    key->local.word[2] = ctx->local_ip6[2];
    key->local.word[3] = ctx->local_ip6[3];
    key->remote.word[0] = ctx->remote_ip6[0];
    key->remote.word[1] = ctx->remote_ip6[1];
    key->remote.word[2] = ctx->remote_ip6[2];
    key->remote.word[3] = ctx->remote_ip6[3];
  }
  key->local_port = ctx->local_port;
  key->remote_port = bpf_ntohl(ctx->remote_port);
}

static __always_inline void weft_swap(struct weft_flow_key *key)
{
  struct weft_address address = key->local;
  key->local = key->remote;
  key->remote = address;
  __u16 port = key->local_port;
  key->local_port = key->remote_port;
  key->remote_port = port;
}

// Watched to its end: not the pod's loopback, over which each flow would count twice and RTT means nothing.
static __always_inline bool weft_leaves_pod(const struct weft_flow_key *key)
{
  return !weft_is_local(&key->remote) && !weft_is_local(&key->local) && !weft_same(&key->local, &key->remote);
}

static __always_inline void weft_connecting(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct weft_flow_key *key)
{
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, sk, 0, 0);
  __u32 role = stored ? stored->role : 0;
  if (stored && role == WEFT_ROLE_CAPTURED)
    bpf_map_update_elem(&weft_flows, key, &stored->address, BPF_ANY);
  else if (stored && role == WEFT_ROLE_DELIVERING)
    bpf_map_update_elem(&weft_clients, key, &stored->address, BPF_ANY);
  else if (!weft_leaves_pod(key))
    return;
  bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void weft_accepting(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct weft_flow_key *key)
{
  if (weft_leaves_pod(key)) {
    bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    return;
  }
  weft_swap(key);
  bool captured = key->remote_port == WEFT_PORT_OUTBOUND;
  struct weft_sockaddr address = {.family = AF_INET, .port = bpf_htons(key->local_port)};
  struct weft_sockaddr *found =
      captured ? bpf_map_lookup_elem(&weft_flows, key) : bpf_map_lookup_elem(&weft_clients, key);
  if (found)
    address = *found;
  else if (!captured && weft_is_local(&key->local) && !weft_is_local(&key->remote))
    address.word[0] = bpf_htonl(WEFT_UNKNOWN_CLIENT4); // a delivery whose client isn't known
  else
    return;
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
  if (stored) {
    stored->netns = key->netns;
    stored->address = address;
    stored->role = captured ? WEFT_ROLE_ACCEPTED : WEFT_ROLE_DELIVERED;
  }
  if (captured)
    bpf_map_delete_elem(&weft_flows, key);
  else
    bpf_map_delete_elem(&weft_clients, key);
}

static __always_inline void weft_closing(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct weft_flow_key *key)
{
  struct weft_socket *stored = bpf_sk_storage_get(&weft_sockets, sk, 0, 0);
  if (stored && stored->role == WEFT_ROLE_CAPTURED) {
    bpf_map_delete_elem(&weft_flows, key);
  } else if (stored && stored->role == WEFT_ROLE_DELIVERING) {
    bpf_map_delete_elem(&weft_clients, key);
    stored->role = 0; // the proxy uses the socket again, for another client
  }
  if (!weft_leaves_pod(key))
    return;
  struct weft_state *state = bpf_map_lookup_elem(&weft_state, &key->netns);
  if (!state)
    return;
  weft_count(&state->flows_closed);
  __sync_fetch_and_add(&state->bytes_acked, ctx->bytes_acked);
  __sync_fetch_and_add(&state->bytes_received, ctx->bytes_received);
  __sync_fetch_and_add(&state->retransmits, ctx->total_retrans);
  __sync_fetch_and_add(&state->srtt_us, ctx->srtt_us >> 3); // the kernel keeps eight times the value
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ctx)
{
  __u32 op = ctx->op;
  bool closing = op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE;
  if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && !closing)
    return WEFT_SOCKOPS_DONE;
  struct bpf_sock *sk = ctx->sk;
  if (!sk)
    return WEFT_SOCKOPS_DONE;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  // A flow of a pod that was released meanwhile still takes its entry away.
  if (!closing && !bpf_map_lookup_elem(&weft_netns, &cookie))
    return WEFT_SOCKOPS_DONE;
  struct weft_flow_key key;
  weft_key_of(ctx, cookie, &key);
  if (closing)
    weft_closing(ctx, sk, &key);
  else if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
    weft_connecting(ctx, sk, &key);
  else
    weft_accepting(ctx, sk, &key);
  return WEFT_SOCKOPS_DONE;
}
