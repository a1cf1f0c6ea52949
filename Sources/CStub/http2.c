#include "include/stub_http2.h"
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD = 512, CONNECTION_WINDOW = 16 << 20, HEADER_LIST = 16 << 10 };

struct field {
  char text[FIELD];
  size_t length;
};

struct stub_h2 {
  nghttp2_session *session;
  struct stub_h2_callbacks call;
  void *context;
  int is_server;
  // Of the one header block that is being received: blocks can't be interleaved.
  struct field method, authority, forwarded, message;
  int status, grpc_status;
};

static void keep(struct field *field, const uint8_t *value, size_t length)
{
  // A field that is too long is kept as nothing: no authority and no address has so many bytes.
  field->length = length <= FIELD ? length : 0;
  memcpy(field->text, value, field->length);
}

static int number(const uint8_t *value, size_t length)
{
  int result = 0;
  if (length == 0 || length > 3)
    return -1;
  for (size_t i = 0; i < length; i++) {
    if (value[i] < '0' || value[i] > '9')
      return -1;
    result = result * 10 + (value[i] - '0');
  }
  return result;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
  (void)session, (void)frame;
  struct stub_h2 *h2 = user;
  h2->method.length = h2->authority.length = h2->forwarded.length = h2->message.length = 0;
  h2->status = 0;
  h2->grpc_status = -1;
  return 0;
}

static int is(const uint8_t *name, size_t length, const char *text)
{
  return length == strlen(text) && memcmp(name, text, length) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t length, uint8_t flags, void *user)
{
  (void)session, (void)frame, (void)flags;
  struct stub_h2 *h2 = user;
  if (is(name, name_length, ":method"))
    keep(&h2->method, value, length);
  else if (is(name, name_length, ":authority"))
    keep(&h2->authority, value, length);
  else if (is(name, name_length, "forwarded"))
    keep(&h2->forwarded, value, length);
  else if (is(name, name_length, ":status"))
    h2->status = number(value, length);
  else if (is(name, name_length, "grpc-status"))
    h2->grpc_status = number(value, length);
  else if (is(name, name_length, "grpc-message"))
    keep(&h2->message, value, length);
  return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
  (void)session;
  struct stub_h2 *h2 = user;
  int32_t stream = frame->hd.stream_id;
  if (frame->hd.type == NGHTTP2_HEADERS) {
    if (h2->is_server && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
      h2->call.request(h2->context, stream, h2->method.text, h2->method.length, h2->authority.text,
                       h2->authority.length, h2->forwarded.text, h2->forwarded.length);
    else if (!h2->is_server)
      h2->call.response(h2->context, stream, h2->status, h2->grpc_status, h2->message.text, h2->message.length);
  }
  if (frame->hd.type == NGHTTP2_GOAWAY)
    h2->call.goaway(h2->context);
  if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
      frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
    h2->call.ended(h2->context, stream);
  return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t length,
                   void *user)
{
  (void)flags;
  struct stub_h2 *h2 = user;
  // The connection's window is given back at once, so that one slow stream holds up no other.
  nghttp2_session_consume_connection(session, length);
  h2->call.data(h2->context, stream, data, length);
  return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
  (void)session;
  struct stub_h2 *h2 = user;
  h2->call.closed(h2->context, stream, code);
  return 0;
}

static ssize_t on_supply(nghttp2_session *session, int32_t stream, uint8_t *out, size_t capacity, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
  (void)session, (void)source;
  struct stub_h2 *h2 = user;
  int end = 0;
  size_t count = h2->call.supply(h2->context, stream, out, capacity, &end);
  if (end)
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  return count == 0 && !end ? NGHTTP2_ERR_DEFERRED : (ssize_t)count;
}

static const nghttp2_data_provider provider = {.read_callback = on_supply};

static nghttp2_session *session_new(struct stub_h2 *h2)
{
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *option = NULL;
  nghttp2_session *session = NULL;
  if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) {
    nghttp2_session_callbacks_del(callbacks);
    return NULL;
  }
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_send_header_block_length(option, HEADER_LIST);
  if (h2->is_server)
    nghttp2_session_server_new2(&session, callbacks, h2, option);
  else
    nghttp2_session_client_new2(&session, callbacks, h2, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  return session;
}

struct stub_h2 *stub_h2_new(int is_server, uint32_t window, uint32_t streams, const struct stub_h2_callbacks *callbacks,
                            void *context)
{
  struct stub_h2 *h2 = calloc(1, sizeof *h2);
  if (h2 == NULL)
    return NULL;
  h2->call = *callbacks;
  h2->context = context;
  h2->is_server = is_server;
  h2->session = session_new(h2);
  nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST},
      {is_server ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH, is_server ? streams : 0},
  };
  if (h2->session == NULL || nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, 3) != 0 ||
      nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) != 0) {
    stub_h2_free(h2);
    return NULL;
  }
  return h2;
}

void stub_h2_free(struct stub_h2 *h2)
{
  if (h2 == NULL)
    return;
  nghttp2_session_del(h2->session);
  free(h2);
}

int stub_h2_receive(struct stub_h2 *h2, const uint8_t *data, size_t length)
{
  ssize_t used = nghttp2_session_mem_recv(h2->session, data, length);
  return used < 0 ? (int)used : 0;
}

ssize_t stub_h2_take(struct stub_h2 *h2, const uint8_t **out)
{
  return nghttp2_session_mem_send(h2->session, out);
}

int stub_h2_is_alive(struct stub_h2 *h2)
{
  return nghttp2_session_want_read(h2->session) || nghttp2_session_want_write(h2->session);
}

const char *stub_h2_describe(int code)
{
  return nghttp2_strerror(code);
}

static nghttp2_nv pair(const char *name, const char *value)
{
  return (nghttp2_nv){.name = (uint8_t *)name,
                      .value = (uint8_t *)value,
                      .namelen = strlen(name),
                      .valuelen = strlen(value),
                      .flags = NGHTTP2_NV_FLAG_NONE};
}

int32_t stub_h2_connect(struct stub_h2 *h2, const char *authority, const char *forwarded)
{
  nghttp2_nv head[] = {pair(":method", "CONNECT"), pair(":authority", authority), pair("forwarded", forwarded)};
  return nghttp2_submit_request(h2->session, NULL, head, forwarded[0] != 0 ? 3 : 2, &provider, NULL);
}

int32_t stub_h2_call(struct stub_h2 *h2, const char *authority, const char *path)
{
  nghttp2_nv head[] = {pair(":method", "POST"), pair(":scheme", "https"),
                       pair(":path", path),     pair(":authority", authority),
                       pair("te", "trailers"),  pair("content-type", "application/grpc")};
  return nghttp2_submit_request(h2->session, NULL, head, 6, &provider, NULL);
}

uint32_t stub_h2_free_streams(struct stub_h2 *h2)
{
  if (!nghttp2_session_check_request_allowed(h2->session))
    return 0;
  return nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

int stub_h2_respond(struct stub_h2 *h2, int32_t stream, int status)
{
  char text[12];
  snprintf(text, sizeof text, "%d", status);
  nghttp2_nv head[] = {pair(":status", text)};
  return nghttp2_submit_response(h2->session, stream, head, 1, status == 200 ? &provider : NULL);
}

void stub_h2_resume(struct stub_h2 *h2, int32_t stream)
{
  nghttp2_session_resume_data(h2->session, stream);
}

void stub_h2_consumed(struct stub_h2 *h2, int32_t stream, size_t length)
{
  nghttp2_session_consume_stream(h2->session, stream, length);
}

void stub_h2_reset(struct stub_h2 *h2, int32_t stream, uint32_t code)
{
  nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream, code);
}

void stub_h2_goaway(struct stub_h2 *h2)
{
  // A server's names no last stream: those that are on their way are still served.
  if (h2->is_server)
    nghttp2_submit_shutdown_notice(h2->session);
  else
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
}

void stub_h2_ping(struct stub_h2 *h2)
{
  nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL);
}
