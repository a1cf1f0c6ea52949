/* SPDX-License-Identifier: GPL-2.0
 * Every map. maps.bpf.c defines them (WEFT_DEFINE_MAPS), the other objects declare them; the linker joins. */
#ifndef WEFT_MAP_TABLE_H
#define WEFT_MAP_TABLE_H

#include "weft_maps.h"
#include <bpf/bpf_helpers.h>

#ifdef WEFT_DEFINE_MAPS
#define WEFT_MAP struct
#else
#define WEFT_MAP extern struct
#endif

/* 4,096 pods a node: ten times what Kubernetes recommends. */
#define WEFT_MAX_PODS 4096
/* Entries live for one handshake over loopback. LRU: a flood can't stop the handshakes behind it. */
#define WEFT_MAX_HANDSHAKES 16384

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_PODS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u64);
  __type(value, struct weft_netns);
}
weft_netns SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_PODS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u64);
  __type(value, struct weft_state);
}
weft_state SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_PODS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u64);
  __type(value, struct weft_pod);
}
weft_pods SEC(".maps");

/* Pod address -> its namespace's cookie: sk_lookup can't ask for the cookie. */
WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_PODS * WEFT_POD_ADDRESS_COUNT);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_address);
  __type(value, __u64);
}
weft_addresses SEC(".maps");

/* Pod address -> the proxy's inbound listener in that pod. Closing the listener removes the entry. */
WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, WEFT_MAX_PODS * WEFT_POD_ADDRESS_COUNT);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_address);
  __type(value, __u64);
}
weft_listeners SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_probe_port);
  __type(value, __u64); /* the namespace's cookie */
}
weft_probe_ports SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 256);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_address);
  __type(value, __u32);
}
weft_nodes SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_prefix);
  __type(value, __u32);
}
weft_exclude SEC(".maps");

/* cgroup id of a task whose sockets are the mesh's own. */
WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u64);
  __type(value, __u32);
}
weft_bypass SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u32);
  __type(value, struct weft_heartbeat);
}
weft_heartbeat SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEFT_MAX_PODS * 2);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u64);
  __type(value, __u32);
}
weft_hold SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, __u32);
  __type(value, struct weft_hold_scope);
}
weft_hold_scope SEC(".maps");

/* Captured connect -> original destination, until the proxy's side is established. */
WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEFT_MAX_HANDSHAKES);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_flow_key);
  __type(value, struct weft_sockaddr);
}
weft_flows SEC(".maps");

/* The proxy's delivery connect -> true client, until the application's side is established. */
WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, WEFT_MAX_HANDSHAKES);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, struct weft_flow_key);
  __type(value, struct weft_sockaddr);
}
weft_clients SEC(".maps");

WEFT_MAP
{
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
  __type(key, int);
  __type(value, struct weft_socket);
}
weft_sockets SEC(".maps");

#endif
