/* SPDX-License-Identifier: GPL-2.0
 * The types, names and constants that the eBPF programs share with the agent and the proxy.
 *
 * Addresses are 16 bytes in network order; IPv4 stands there as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so that
 * one host has one key whatever the family of the socket that named it. Change WEFT_LAYOUT_VERSION with any
 * change of a map's key or value: pinned maps outlive the agent that made them. */
#ifndef WEFT_MAPS_H
#define WEFT_MAPS_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WEFT_LAYOUT_VERSION 1

/* DESIGN 7. Host order. */
#define WEFT_PORT_OUTBOUND 15001
#define WEFT_PORT_INBOUND 15006
#define WEFT_PORT_HBONE 15008
#define WEFT_PORT_DNS 15053

/* Option names at level SOL_IP on the agent's sockets. No IP option and no netfilter range is near. */
#define WEFT_SO_ORIGINAL_DST 0x5750    /* get, accepted on 15001: struct weft_sockaddr */
#define WEFT_SO_CLIENT_ADDRESS 0x5751  /* set, before connect: struct weft_sockaddr that the server's accept shows */
#define WEFT_SO_DNS_SERVER_BASE 0x5760 /* get, + slot, any socket of the namespace: struct weft_sockaddr */

#define WEFT_DNS_SLOTS4 4 /* slot s of an IPv4 server is reached as 127.0.53.(1+s) */
#define WEFT_DNS_SLOT6 4  /* the slot number of the one IPv6 server, reached as ::1 */
#define WEFT_DNS_ADDRESS4 0x7f003501u

/* Shown as the client's address where the true one can't be (RFC 7600's dummy address): an unknown client must not look
 * like loopback, which applications trust. Host order. */
#define WEFT_UNKNOWN_CLIENT4 0xc0000008u

/* A heartbeat older than this is stale: a pod that fails open passes. */
#define WEFT_HEARTBEAT_LIMIT_NS 5000000000ull

/* struct weft_netns.flags */
#define WEFT_HOLD 1u      /* known to be meshed, not enrolled yet: refuse */
#define WEFT_FAIL_OPEN 2u /* pass while the heartbeat is stale */

/* weft_hold: cgroup id -> what is known of the pod whose cgroup it is. Judged from the root down: the first entry of a
 * pod decides. Written by the agent only. */
#define WEFT_POD_HELD 1u   /* its sockets are refused: it is to be meshed and isn't enrolled, or nobody knows yet */
#define WEFT_POD_PASSES 2u /* none of the mesh's */
#define WEFT_POD_FOLDER 4u /* no pod: below it a cgroup without an entry is a pod that the agent hasn't seen yet */
/* Held outside of the networks in weft_netns: a sandbox that is made anew while no agent is there isn't captured yet.
 */
#define WEFT_POD_ENROLLED 8u
/* Cgroups between the root of the hierarchy and a pod's, and below: kubelet/kubepods.slice/…/pod…/container is 5. */
#define WEFT_HOLD_DEPTH 12

/* struct weft_socket.role */
#define WEFT_ROLE_CAPTURED 1u   /* the application's client socket: address = where it wanted to go */
#define WEFT_ROLE_ACCEPTED 2u   /* the proxy's accepted socket: address = where the client wanted to go */
#define WEFT_ROLE_DELIVERING 3u /* the proxy's socket to the application: address = the true client */
#define WEFT_ROLE_DELIVERED 4u  /* the application's accepted socket: address = the true client */

#define WEFT_POD_UID_BYTES 320   /* "namespace/name": 63 + 1 + 253 bytes at most, and a NUL */
#define WEFT_POD_ADDRESS_COUNT 8 /* addresses of one pod */
#define WEFT_POD_PORT_COUNT 64   /* probe ports of one pod */

struct weft_address {
  __u32 word[4];
};

struct weft_sockaddr {
  __u16 family; /* host order: AF_INET or AF_INET6 */
  __u16 port;   /* network order */
  __u32 pad;
  /* network order; IPv4 in the first four bytes, the rest 0 */
#ifdef __VMLINUX_H__
  __u32 word[4];
#else
  __u8 addr[16];
#endif
};

/* weft_netns: network namespace cookie -> how its sockets are treated. Written by the agent only. */
struct weft_netns {
  __u32 flags;
  __u32 address4; /* the pod's address, network order; 0 = none */
  struct weft_address address6;
};

/* weft_state: network namespace cookie -> what the programs learn and count. */
struct weft_state {
  __u32 dns4[WEFT_DNS_SLOTS4]; /* servers in the order of their first use, network order; 0 = free */
  struct weft_address dns6;
  __u64 captured;       /* TCP connects redirected to the proxy */
  __u64 dns_queries;    /* UDP sends and connects redirected to the resolver */
  __u64 refused;        /* refused: held */
  __u64 passed_open;    /* passed: fail open, heartbeat stale */
  __u64 flows_closed;   /* TCP flows that left the pod's loopback, over */
  __u64 bytes_acked;    /* of those flows */
  __u64 bytes_received; /* of those flows */
  __u64 retransmits;    /* segments, of those flows */
  __u64 srtt_us;        /* sum of the flows' last smoothed round-trip times, microseconds */
};

/* weft_flows and weft_clients: one TCP connection inside a namespace, from the connecting side. */
struct weft_flow_key {
  __u64 netns;
  struct weft_address local;
  struct weft_address remote;
  __u16 local_port;  /* host order */
  __u16 remote_port; /* host order */
  __u32 pad;
};

/* weft_sockets: socket storage. */
struct weft_socket {
  __u64 netns;
  __u32 role;
  __u32 pad;
  struct weft_sockaddr address;
};

/* weft_exclude: destinations that are never captured. prefix_length counts from the start of the 16 bytes. */
struct weft_prefix {
  __u32 prefix_length;
  struct weft_address address;
};

/* weft_probe_ports: where the node itself may connect in plaintext. */
struct weft_probe_port {
  struct weft_address address;
  __u16 port; /* host order */
  __u16 pad;
};

/* weft_heartbeat[0] */
struct weft_heartbeat {
  __u64 at; /* CLOCK_MONOTONIC, nanoseconds */
  __u32 layout;
  __u32 pad;
};

/* weft_hold_scope[0] */
struct weft_hold_scope {
  __u64 node;         /* cookie of the node's own network namespace, which is never held; 0: nothing is held */
  __u64 unseen_until; /* CLOCK_MONOTONIC, nanoseconds: how long pods that the agent hasn't seen are held */
};

/* weft_pods: network namespace cookie -> the agent's own record, read back after its restart. */
struct weft_pod {
  __u32 flags;
  __u32 address_count;
  __u32 port_count;
  __u32 pad;
  struct weft_address address[WEFT_POD_ADDRESS_COUNT];
  __u16 port[WEFT_POD_PORT_COUNT];
  char uid[WEFT_POD_UID_BYTES];
};

#endif
