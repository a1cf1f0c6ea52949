// HTTP/2 for CONNECT tunnels and for gRPC calls: libnghttp2 with what the stub needs of it. Bytes in, bytes out.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stub_h2;

// Strings aren't terminated. Called from within stub_h2_receive and stub_h2_take; they may call any function but
// stub_h2_free, stub_h2_receive and stub_h2_take.
struct stub_h2_callbacks {
  // A server's: a request's head is complete.
  void (*request)(void *context, int32_t stream, const char *method, size_t method_length, const char *authority,
                  size_t authority_length, const char *forwarded, size_t forwarded_length);
  // A client's: status of the head; grpc_status is -1 where there is none (it comes with the trailers, status 0).
  void (*response)(void *context, int32_t stream, int status, int grpc_status, const char *message, size_t length);
  void (*data)(void *context, int32_t stream, const uint8_t *data, size_t length);
  // The peer has sent all that it will send.
  void (*ended)(void *context, int32_t stream);
  // Over in both directions; `code` isn't 0 where it was reset.
  void (*closed)(void *context, int32_t stream, uint32_t code);
  // Bytes to send: how many were written to `out`, 0 for none now (stub_h2_resume asks again). *end_out: none will
  // follow.
  size_t (*supply)(void *context, int32_t stream, uint8_t *out, size_t capacity, int *end_out);
  // No new streams.
  void (*goaway)(void *context);
};

// `window`: bytes that a peer may send on a stream before they are consumed; `streams`: at once, of a server.
struct stub_h2 *stub_h2_new(int is_server, uint32_t window, uint32_t streams, const struct stub_h2_callbacks *callbacks,
                            void *context);
void stub_h2_free(struct stub_h2 *h2);
// 0, or a code below 0: the connection is broken (stub_h2_describe), and what is left to take says so to the peer.
int stub_h2_receive(struct stub_h2 *h2, const uint8_t *data, size_t length);
// Bytes that have to leave, valid until the next call; 0 for none, below 0 on failure.
ssize_t stub_h2_take(struct stub_h2 *h2, const uint8_t **out);
// Whether anything more has to leave or may come.
int stub_h2_is_alive(struct stub_h2 *h2);
const char *stub_h2_describe(int code);

// A CONNECT; the stream, or below 0. `forwarded` may be empty.
int32_t stub_h2_connect(struct stub_h2 *h2, const char *authority, const char *forwarded);
// A gRPC call (POST); the stream, or below 0.
int32_t stub_h2_call(struct stub_h2 *h2, const char *authority, const char *path);
// How many more streams a client may open.
uint32_t stub_h2_free_streams(struct stub_h2 *h2);
// A server's answer; without a body for any but 200.
int stub_h2_respond(struct stub_h2 *h2, int32_t stream, int status);
// Asks `supply` again.
void stub_h2_resume(struct stub_h2 *h2, int32_t stream);
// The application has taken bytes of the stream: the peer may send as many more.
void stub_h2_consumed(struct stub_h2 *h2, int32_t stream, size_t length);
void stub_h2_reset(struct stub_h2 *h2, int32_t stream, uint32_t code);
// No new streams from now on.
void stub_h2_goaway(struct stub_h2 *h2);
void stub_h2_ping(struct stub_h2 *h2);
