#pragma once
#include <stddef.h>
#include <stdint.h>

// Network namespaces, capabilities and the one mount that capture needs. Results: 0, or an errno value.

// The kernel's cookie of a network namespace (SO_NETNS_COOKIE, Linux 5.14), read on a thread of its own, so that the
// caller's never leaves its namespace.
int weft_netns_cookie(int netns, uint64_t *cookie);

// The same on the calling thread, which is in that namespace afterwards.
int weft_netns_enter_cookie(int netns, uint64_t *cookie);

// The network namespace that a socket lives in, as a descriptor, without entering it (SIOCGSKNS; needs CAP_NET_ADMIN
// there).
int weft_netns_of_socket(int sock, int *netns);

// The first IPv4 addresses of the interfaces there, at most `count`, in host byte order (SIOCGIFCONF). Returns how
// many, or -errno.
int weft_netns_addresses_of_socket(int sock, uint32_t *addresses, size_t count);

// Moves the calling thread.
int weft_netns_enter(int netns);

// A new network namespace as a descriptor, made on a thread of its own. Tests use it.
int weft_netns_make(int *netns);

// The calling thread's effective capabilities, one bit each.
int weft_thread_capabilities(uint64_t *effective);

// Drops all capabilities of the calling thread for good.
int weft_thread_drop_capabilities(void);

// Mounts a BPF file system.
int weft_mount_bpffs(const char *directory);

// 1 if the path lies on a BPF file system, 0 if on another, -errno.
int weft_is_bpffs(const char *path);
