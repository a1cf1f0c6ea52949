// Sockets and memory. Addresses are 16 bytes in network order, IPv4 mapped (RFC 4291 2.5.5.2); ports in host order.
#pragma once
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

// A non-blocking listener on all addresses, or on loopback; -errno on failure.
int stub_listen(uint16_t port, int only_loopback);
// A non-blocking connection; sets the peer's address. -errno on failure.
int stub_accept(int listener, uint8_t *address_out, uint16_t *port_out);
// Begins to connect; the descriptor or -errno.
int stub_connect(const uint8_t *address, uint16_t port);
// What the connection was meant for before the redirect; 0 or -errno.
int stub_original_destination(int fd, uint8_t *address_out, uint16_t *port_out);
// 0 or errno of a connect that has ended.
int stub_socket_error(int fd);
// The next close resets the connection.
void stub_reset_on_close(int fd);

// In the network namespace's abstract names: a listener, or a connection (blocking, 5 s). -errno on failure.
int stub_listen_local(const char *name);
int stub_connect_local(const char *name);
// The user at the other end of a local socket, or -1.
int64_t stub_peer_user(int fd);
// Waits for SIGTERM and SIGINT on the returned descriptor, and ignores SIGPIPE.
int stub_signals(void);
// The next pending signal's number, or 0.
int stub_next_signal(int fd);

// Looks a host name up in a child process: addresses come through the returned descriptor, 16 bytes each, and its end
// ends it. -errno on failure.
int stub_resolve(const char *host, int *pid_out);
void stub_end_child(int pid);

// Unmaps the program's clean pages: those in use come back from the page cache one by one, those of the start don't.
void stub_release_start_pages(void);
// Keeps malloc in one arena and gives freed memory back.
void stub_keep_memory_small(void);
void stub_trim_memory(void);
int64_t stub_resident_bytes(void);
