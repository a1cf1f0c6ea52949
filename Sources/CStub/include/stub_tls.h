// TLS 1.3 over a socket, both sides with certificates (or the server alone, for joining).
#pragma once
#include <stddef.h>
#include <stdint.h>

enum stub_tls_result {
  STUB_TLS_WANT_READ = -1,
  STUB_TLS_WANT_WRITE = -2,
  // The peer has said that no more comes.
  STUB_TLS_CLOSED = -3,
  STUB_TLS_FAILED = -4,
};

struct stub_tls_context;
struct stub_tls;

// Everything in PEM. `chain` (leaf first) and `key` may be empty for a client that has no certificate yet. `roots` may
// name an intermediate. NULL on failure.
struct stub_tls_context *stub_tls_context_new(const char *chain, size_t chain_length, const char *key,
                                              size_t key_length, const char *roots, size_t roots_length, int is_server,
                                              char *error, size_t capacity);
void stub_tls_context_free(struct stub_tls_context *context);

// The session doesn't own the descriptor. NULL without memory.
struct stub_tls *stub_tls_new(struct stub_tls_context *context, int fd, int is_server);
void stub_tls_free(struct stub_tls *tls);
// 0, or a result below 0.
int stub_tls_handshake(struct stub_tls *tls);
// Bytes, or a result below 0.
int stub_tls_read(struct stub_tls *tls, void *data, int capacity);
int stub_tls_write(struct stub_tls *tls, const void *data, int length);
void stub_tls_shutdown(struct stub_tls *tls);
// Whether h2 was agreed on.
int stub_tls_is_h2(struct stub_tls *tls);
// The first URI SAN of the peer's certificate; returns how many there are. A name that doesn't fit or holds a NUL is
// counted and left out.
int stub_tls_peer_uri(struct stub_tls *tls, char *out, size_t capacity);
// Whether the peer's certificate carries this host name or address as a SAN.
int stub_tls_peer_is_named(struct stub_tls *tls, const char *host);
// Why the last call failed.
void stub_tls_error(struct stub_tls *tls, char *error, size_t capacity);
