// SPDX-License-Identifier: GPL-2.0
// A held pod is not connected to from outside either, whether or not an agent has seen its network: what asks for a
// connection is dropped, and asks again. Attached to the folders of pods, not to the proxy.
#include "weft_decides.h"

char LICENSE[] SEC("license") = "GPL";

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

struct weft_ends {
  struct weft_address from, to;
};

// From the network header, where such a program's packets begin.
static __always_inline bool weft_read_ends(struct __sk_buff *skb, struct weft_ends *ends)
{
  if (skb->protocol == bpf_htons(ETH_P_IPV6))
    return bpf_skb_load_bytes(skb, 8, ends, sizeof *ends) == 0;
  __u32 both[2];
  if (skb->protocol != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, 12, both, sizeof both) != 0)
    return false;
  ends->from = weft_mapped(both[0]);
  ends->to = weft_mapped(both[1]);
  return true;
}

static __noinline bool weft_listener_held(struct __sk_buff *skb)
{
  __u32 zero = 0;
  struct weft_hold_scope *scope = bpf_map_lookup_elem(&weft_hold_scope, &zero);
  if (!scope || !scope->node)
    return false;
  __u32 found = 0;
  for (int level = 0; level < WEFT_HOLD_DEPTH; level++) {
    __u64 id = bpf_skb_ancestor_cgroup_id(skb, level);
    if (!id || weft_decides(id, &found))
      break;
  }
  if (found == WEFT_POD_FOLDER ? bpf_ktime_get_ns() >= scope->unseen_until
                               : found != WEFT_POD_HELD && found != WEFT_POD_ENROLLED)
    return false;
  struct weft_ends ends;
  if (!weft_read_ends(skb, &ends))
    return true;
  // Inside the pod, or to a pod of the node's network, which is never held.
  if (weft_is_local(&ends.from) || weft_same(&ends.from, &ends.to) || bpf_map_lookup_elem(&weft_nodes, &ends.to))
    return false;
  // Whose probes fail is ended: what isn't meshed must not depend on an agent's being there.
  if (found == WEFT_POD_FOLDER)
    return !bpf_map_lookup_elem(&weft_nodes, &ends.from);
  // To an address that is known, sk_lookup has judged it: what is here is a probe, the proxy's, or passes open.
  return found != WEFT_POD_ENROLLED || !bpf_map_lookup_elem(&weft_addresses, &ends.to);
}

SEC("cgroup_skb/ingress")
int weft_ingress(struct __sk_buff *skb)
{
  struct bpf_sock *sk = skb->sk;
  if (!sk || sk->state != BPF_TCP_LISTEN)
    return WEFT_ALLOW;
  return weft_listener_held(skb) ? WEFT_REFUSE : WEFT_ALLOW;
}
