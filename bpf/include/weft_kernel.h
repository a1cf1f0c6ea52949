/* SPDX-License-Identifier: GPL-2.0
 * What every program needs: kernel types, constants that BTF doesn't carry, and the common judgement. */
#ifndef WEFT_KERNEL_H
#define WEFT_KERNEL_H

#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "weft_map_table.h"

#define AF_INET 2
#define AF_INET6 10
#define SOL_IP 0
#define SOL_SOCKET 1
#define SOL_IPV6 41
#define SO_BINDTODEVICE 25
#define SO_ORIGINAL_DST 80 /* and IP6T_SO_ORIGINAL_DST */
#define LOOPBACK_IFINDEX 1

#define WEFT_MAPPED bpf_htonl(0x0000ffff)
#define WEFT_LOOPBACK4 bpf_htonl(0x7f000001)

/* A context field, read or written where it stands and at its own width: the verifier refuses what the compiler
 * makes of two accesses when it merges them. */
#define WEFT_FIELD(field) (*(volatile typeof(field) *)&(field))

/* What cgroup/{connect,sendmsg} return. */
#define WEFT_REFUSE 0
#define WEFT_ALLOW 1

enum weft_verdict { WEFT_PASS, WEFT_TAKE, WEFT_DENY };

static __always_inline struct weft_address weft_mapped(__u32 ip4)
{
  return (struct weft_address){.word = {0, 0, WEFT_MAPPED, ip4}};
}

static __always_inline bool weft_is_mapped(const struct weft_address *a)
{
  return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == WEFT_MAPPED;
}

/* Loopback, or unspecified, which connect and send take for loopback. */
static __always_inline bool weft_is_local4(__u32 ip4)
{
  return (ip4 & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || ip4 == 0;
}

static __always_inline bool weft_is_local(const struct weft_address *a)
{
  if (weft_is_mapped(a))
    return weft_is_local4(a->word[3]);
  return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && (a->word[3] == bpf_htonl(1) || a->word[3] == 0);
}

static __always_inline bool weft_same(const struct weft_address *a, const struct weft_address *b)
{
  return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] && a->word[3] == b->word[3];
}

/* port: network order. */
static __always_inline struct weft_sockaddr weft_sockaddr_of(const struct weft_address *a, __u16 port)
{
  if (weft_is_mapped(a))
    return (struct weft_sockaddr){.family = AF_INET, .port = port, .word = {a->word[3], 0, 0, 0}};
  return (struct weft_sockaddr){
      .family = AF_INET6, .port = port, .word = {a->word[0], a->word[1], a->word[2], a->word[3]}};
}

static __always_inline bool weft_heartbeat_stale(void)
{
  __u32 zero = 0;
  struct weft_heartbeat *beat = bpf_map_lookup_elem(&weft_heartbeat, &zero);
  __u64 now = bpf_ktime_get_ns();
  return !beat || now > beat->at + WEFT_HEARTBEAT_LIMIT_NS;
}

static __always_inline void weft_count(__u64 *counter)
{
  __sync_fetch_and_add(counter, 1);
}

/* May the mesh take what this task sends to `to`? `state` is set for WEFT_TAKE. */
static __always_inline enum weft_verdict weft_judge(__u64 cookie, const struct weft_address *to,
                                                    struct weft_state **state)
{
  struct weft_netns *netns = bpf_map_lookup_elem(&weft_netns, &cookie);
  if (!netns)
    return WEFT_PASS;
  __u64 task = bpf_get_current_cgroup_id();
  if (bpf_map_lookup_elem(&weft_bypass, &task))
    return WEFT_PASS;
  struct weft_prefix prefix = {.prefix_length = 128, .address = *to};
  if (bpf_map_lookup_elem(&weft_exclude, &prefix))
    return WEFT_PASS;
  struct weft_state *found = bpf_map_lookup_elem(&weft_state, &cookie);
  if (!found) /* the agent writes it before weft_netns and removes it after */
    return WEFT_DENY;
  *state = found;
  if (netns->flags & WEFT_HOLD) {
    weft_count(&found->refused);
    return WEFT_DENY;
  }
  if ((netns->flags & WEFT_FAIL_OPEN) && weft_heartbeat_stale()) {
    weft_count(&found->passed_open);
    return WEFT_PASS;
  }
  return WEFT_TAKE;
}

#endif
