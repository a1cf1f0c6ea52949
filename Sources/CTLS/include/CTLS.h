// TLS 1.3 over buffers of the caller's: the library never touches a socket, so that the records of many streams leave
// in one system call. The library is the BoringSSL that swift-nio-ssl carries, which is linked already for gRPC's sake
// and encrypts with VAES where the machine has it.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The two ends of a connection's ciphertext.
struct weft_tls_io {
  // What was received and not decrypted yet: set by the caller before a read, advanced by the library.
  const uint8_t *in;
  size_t in_length;
  // What is to be sent, from `out_start`: appended by the library, freed by weft_tls_io_free.
  uint8_t *out;
  size_t out_start, out_length, out_capacity;
};

void weft_tls_io_free(struct weft_tls_io *io);
// Drops the first bytes of `out`.
void weft_tls_io_sent(struct weft_tls_io *io, size_t count);
// Gives an empty buffer's memory back: an idle connection holds none.
void weft_tls_io_trim(struct weft_tls_io *io);

struct weft_bytes {
  const uint8_t *data;
  size_t length;
};

// A context for both roles: TLS 1.3 only, ALPN "h2", the peer's certificate required and checked against `roots`.
// `chain`: DER, leaf first; `key`: PKCS #8, DER. NULL and a reason in `error` on failure.
struct weft_tls_context;
struct weft_tls;

struct weft_tls_context *weft_tls_context_new(const struct weft_bytes *chain, size_t chain_count, struct weft_bytes key,
                                              const struct weft_bytes *roots, size_t root_count, int is_server,
                                              char *error, size_t error_capacity);
void weft_tls_context_free(struct weft_tls_context *context);
struct weft_tls *weft_tls_new(struct weft_tls_context *context, struct weft_tls_io *io, int is_server);
void weft_tls_free(struct weft_tls *tls);

enum weft_tls_result { WEFT_TLS_OK = 1, WEFT_TLS_WANT_READ = 0, WEFT_TLS_CLOSED = -1, WEFT_TLS_FAILED = -2 };
int weft_tls_handshake(struct weft_tls *tls);
// > 0: bytes; else WEFT_TLS_WANT_READ, _CLOSED (close_notify) or _FAILED.
int weft_tls_read(struct weft_tls *tls, void *data, int capacity);
// One record of at most 16 KiB. > 0: bytes taken.
int weft_tls_write(struct weft_tls *tls, const void *data, int length);
// Queues close_notify (RFC 8446 section 6.1).
void weft_tls_shutdown(struct weft_tls *tls);
// The reason of the last failure, for a log.
void weft_tls_error(struct weft_tls *tls, char *error, size_t capacity);
// The peer's one URI SAN into `out`; the number of URI SANs found, or -1 where there is no certificate.
int weft_tls_peer_uri(struct weft_tls *tls, char *out, size_t capacity);
int weft_tls_alpn_is_h2(struct weft_tls *tls);
