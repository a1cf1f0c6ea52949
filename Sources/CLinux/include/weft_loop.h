// What an event loop needs of the system: headers that Swift's Glibc module leaves out.
#pragma once
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

// epoll_event is packed and holds a union: its pointer is set and read here.
int weft_epoll_add(int epoll, int fd, uint32_t events, void *pointer);
int weft_epoll_remove(int epoll, int fd);
void *weft_epoll_pointer(const struct epoll_event *event);

// A non-blocking, close-on-exec connection; -errno on failure.
int weft_accept(int listener, struct sockaddr *address, socklen_t *length);

// Bytes that were written but are not acknowledged by the peer yet, its FIN included; -errno on failure.
int weft_unacknowledged(int fd);

// Receives one datagram with the address that it was sent to. Addresses are 16 bytes, IPv4 mapped (RFC 4291).
// Returns its length or -errno. `local_out` and `peer_out` are 16 bytes each.
ssize_t weft_receive_datagram(int fd, void *data, size_t capacity, uint8_t *local_out, uint8_t *peer_out,
                              uint16_t *peer_port_out, int *truncated_out);
// Sends one datagram; `local` (16 bytes, or NULL) is the source address. Returns its length or -errno.
ssize_t weft_send_datagram(int fd, const void *data, size_t length, const uint8_t *local, const uint8_t *peer,
                           uint16_t peer_port);

// Takes this program's code out of the process's memory: what is used from here on is mapped again, from the page
// cache, as it is called. To be used once a long start is over, whose code is never run again.
void weft_release_startup_code(void);

// Makes malloc give large buffers (from 256 KiB) back to the kernel as soon as they are freed, and share few arenas:
// for a program whose bursts are rare and large.
void weft_return_freed_memory(void);

// Lets malloc keep what a burst freed (up to 8 MiB an arena) instead of giving it back to the kernel and taking it
// again at the next burst.
void weft_keep_freed_memory(void);

// Names the calling thread, for ps and top (at most 15 bytes).
void weft_name_thread(const char *name);

// No core files, and no memory read by other processes of the same user.
int weft_forbid_dumps(void);
// Forbids the system calls that a proxy never makes (starting programs, loading BPF, entering namespaces, tracing,
// mounting, modules, keyrings): EPERM. 0 or -errno.
int weft_restrict_system_calls(void);
