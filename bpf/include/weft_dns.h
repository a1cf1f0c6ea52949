/* SPDX-License-Identifier: GPL-2.0
 * DNS servers of a pod as slots: a reply's source address alone tells which server was meant. */
#ifndef WEFT_DNS_H
#define WEFT_DNS_H

#include "weft_kernel.h"

/* The slot of a server, taken at its first use. A fifth server takes over the last slot: it's served, and only a
 * query under way to the fourth is answered in the fifth's name. */
static __always_inline __u32 weft_dns_slot4(struct weft_state *state, __u32 server)
{
#pragma unroll
  for (int slot = 0; slot < WEFT_DNS_SLOTS4; slot++) {
    __u32 holder = state->dns4[slot];
    if (!holder)
      holder = __sync_val_compare_and_swap(&state->dns4[slot], 0, server);
    if (!holder || holder == server)
      return slot;
  }
  state->dns4[WEFT_DNS_SLOTS4 - 1] = server;
  return WEFT_DNS_SLOTS4 - 1;
}

/* Where a query to `server` goes instead. */
static __always_inline struct weft_address weft_dns_redirect(struct weft_state *state,
                                                             const struct weft_address *server)
{
  weft_count(&state->dns_queries);
  if (weft_is_mapped(server))
    return weft_mapped(bpf_htonl(WEFT_DNS_ADDRESS4 + weft_dns_slot4(state, server->word[3])));
  if (!weft_same(&state->dns6, server))
    state->dns6 = *server;
  return (struct weft_address){.word = {0, 0, 0, bpf_htonl(1)}};
}

/* The server that stands behind `from`, the source of a reply from the resolver's port; false if none does. */
static __always_inline bool weft_dns_server(__u64 cookie, const struct weft_address *from, struct weft_address *server)
{
  __u32 slot = WEFT_DNS_SLOT6;
  if (weft_is_mapped(from))
    slot = bpf_ntohl(from->word[3]) - WEFT_DNS_ADDRESS4;
  else if (!weft_is_local(from))
    return false;
  struct weft_state *state = bpf_map_lookup_elem(&weft_state, &cookie);
  if (!state)
    return false;
  if (slot == WEFT_DNS_SLOT6 && !weft_is_mapped(from)) {
    *server = state->dns6;
    return server->word[0] || server->word[1] || server->word[2] || server->word[3];
  }
  if (slot >= WEFT_DNS_SLOTS4)
    return false;
  __u32 ip4 = state->dns4[slot];
  *server = weft_mapped(ip4);
  return ip4 != 0;
}

#endif
