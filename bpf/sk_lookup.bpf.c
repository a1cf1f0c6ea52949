// SPDX-License-Identifier: GPL-2.0
// Inbound: whatever port of the pod a connection from outside asks for, the proxy's listener in the pod gets it, and
// getsockname() of the accepted socket is the destination asked for. The pod's resolver isn't there for others.
#include "weft_kernel.h"

char LICENSE[] SEC("license") = "GPL";

// The proxy's own delivery (it leaves from the loopback address), or the pod talking to itself. The addresses tell, the
// interface doesn't: what a pod sends to its own address counts as arrived by the interface that holds the address.
// From outside the stack has dropped such sources as martians; IPv6 alone lets the pod's own address in as a source,
// and answers it inside the pod, so that no connection comes of it.
static __always_inline bool weft_stays_inside(const struct weft_address *local, const struct weft_address *remote)
{
  if (weft_is_local(remote) || weft_is_local(local) || weft_same(local, remote))
    return true;
  __u64 *theirs = bpf_map_lookup_elem(&weft_addresses, remote);
  if (!theirs)
    return false;
  __u64 *ours = bpf_map_lookup_elem(&weft_addresses, local);
  return ours && *ours == *theirs;
}

static __always_inline bool weft_is_probe(const struct weft_address *local, const struct weft_address *remote,
                                          __u16 port)
{
  if (!bpf_map_lookup_elem(&weft_nodes, remote))
    return false;
  struct weft_probe_port probe = {.address = *local, .port = port};
  return bpf_map_lookup_elem(&weft_probe_ports, &probe) != 0;
}

static __always_inline bool weft_fails_open(const struct weft_address *local)
{
  __u64 *cookie = bpf_map_lookup_elem(&weft_addresses, local);
  if (!cookie)
    return false;
  __u64 key = *cookie;
  struct weft_netns *netns = bpf_map_lookup_elem(&weft_netns, &key);
  return netns && (netns->flags & (WEFT_FAIL_OPEN | WEFT_HOLD)) == WEFT_FAIL_OPEN && weft_heartbeat_stale();
}

SEC("sk_lookup")
int weft_sk_lookup(struct bpf_sk_lookup *ctx)
{
  __u16 port = ctx->local_port;
  bool resolver = ctx->protocol == IPPROTO_UDP && port == WEFT_PORT_DNS;
  if (ctx->protocol != IPPROTO_TCP && !resolver)
    return SK_PASS;
  struct weft_address local, remote;
  if (ctx->family == AF_INET) {
    local = weft_mapped(WEFT_FIELD(ctx->local_ip4));
    remote = weft_mapped(WEFT_FIELD(ctx->remote_ip4));
  } else {
    local = (struct weft_address){.word = {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]}};
    remote =
        (struct weft_address){.word = {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]}};
  }
  if (weft_stays_inside(&local, &remote) || port == WEFT_PORT_HBONE || weft_is_probe(&local, &remote, port))
    return SK_PASS;
  if (resolver)
    return SK_DROP;
  struct bpf_sock *listener = bpf_map_lookup_elem(&weft_listeners, &local);
  if (!listener)
    return weft_fails_open(&local) ? SK_PASS : SK_DROP;
  long failed = bpf_sk_assign(ctx, listener, 0);
  bpf_sk_release(listener);
  return failed ? SK_DROP : SK_PASS;
}
