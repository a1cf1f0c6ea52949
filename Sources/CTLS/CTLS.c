#include "CTLS.h"
#include <CNIOBoringSSL.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void weft_tls_io_free(struct weft_tls_io *io)
{
  free(io->out);
  memset(io, 0, sizeof *io);
}

void weft_tls_io_sent(struct weft_tls_io *io, size_t count)
{
  io->out_length -= count;
  io->out_start = io->out_length > 0 ? io->out_start + count : 0;
}

void weft_tls_io_trim(struct weft_tls_io *io)
{
  if (io->out_length > 0)
    return;
  free(io->out);
  io->out = NULL;
  io->out_capacity = 0;
}

static int io_write(BIO *bio, const char *data, int length)
{
  struct weft_tls_io *io = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  size_t needed = io->out_length + (size_t)length;
  if (io->out_start + needed > io->out_capacity && io->out_start > 0) {
    memmove(io->out, io->out + io->out_start, io->out_length);
    io->out_start = 0;
  }
  if (needed > io->out_capacity) {
    size_t capacity = io->out_capacity ? io->out_capacity : 2048;
    while (capacity < needed)
      capacity *= 2;
    uint8_t *grown = realloc(io->out, capacity);
    if (grown == NULL)
      return -1;
    io->out = grown;
    io->out_capacity = capacity;
  }
  memcpy(io->out + io->out_start + io->out_length, data, (size_t)length);
  io->out_length = needed;
  return length;
}

static int io_read(BIO *bio, char *data, int length)
{
  struct weft_tls_io *io = BIO_get_data(bio);
  BIO_clear_retry_flags(bio);
  if (io->in_length == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t count = (size_t)length < io->in_length ? (size_t)length : io->in_length;
  memcpy(data, io->in, count);
  io->in += count;
  io->in_length -= count;
  return (int)count;
}

static long io_control(BIO *bio, int command, long number, void *pointer)
{
  (void)bio, (void)number, (void)pointer;
  return command == BIO_CTRL_FLUSH;
}

static int io_create(BIO *bio)
{
  BIO_set_init(bio, 1);
  return 1;
}

static BIO_METHOD *io_method(void)
{
  // Made once, by the first (control) thread, before any worker has a context.
  static BIO_METHOD *method;
  if (method == NULL) {
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft buffers");
    if (made == NULL)
      return NULL;
    BIO_meth_set_write(made, io_write);
    BIO_meth_set_read(made, io_read);
    BIO_meth_set_ctrl(made, io_control);
    BIO_meth_set_create(made, io_create);
    method = made;
  }
  return method;
}

static int select_h2(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                     unsigned int in_length, void *argument)
{
  (void)ssl, (void)argument;
  for (unsigned int at = 0; at + 2 < in_length; at += 1u + in[at])
    if (in[at] == 2 && in[at + 1] == 'h' && in[at + 2] == '2') {
      *out = in + at + 1;
      *out_length = 2;
      return SSL_TLSEXT_ERR_OK;
    }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// BoringSSL's reasons as words: UNSUPPORTED_PROTOCOL reads "unsupported protocol".
static void describe(unsigned long code, char *text, size_t capacity)
{
  const char *reason = code != 0 ? ERR_reason_error_string((uint32_t)code) : NULL;
  snprintf(text, capacity, "%s", reason != NULL ? reason : "unknown reason");
  for (char *c = text; *c != 0; c++)
    *c = *c == '_' ? ' ' : (char)tolower((unsigned char)*c);
}

static void fail(const char *what, char *error, size_t capacity)
{
  char reason[200];
  describe(ERR_get_error(), reason, sizeof reason);
  ERR_clear_error();
  if (capacity > 0)
    snprintf(error, capacity, "%s: %s", what, reason);
}

static X509 *parse(struct weft_bytes bytes)
{
  const unsigned char *at = bytes.data;
  return d2i_X509(NULL, &at, (long)bytes.length);
}

static const char *configure(SSL_CTX *context, const struct weft_bytes *chain, size_t chain_count,
                             struct weft_bytes key, const struct weft_bytes *roots, size_t root_count)
{
  for (size_t i = 0; i < chain_count; i++) {
    X509 *certificate = parse(chain[i]);
    if (certificate == NULL)
      return "a certificate of the chain";
    int ok = i == 0 ? SSL_CTX_use_certificate(context, certificate) : SSL_CTX_add1_chain_cert(context, certificate);
    X509_free(certificate);
    if (!ok)
      return "a certificate of the chain";
  }
  const unsigned char *at = key.data;
  EVP_PKEY *private_key = d2i_AutoPrivateKey(NULL, &at, (long)key.length);
  int ok = private_key != NULL && SSL_CTX_use_PrivateKey(context, private_key) && SSL_CTX_check_private_key(context);
  EVP_PKEY_free(private_key);
  if (!ok)
    return "the private key";
  X509_STORE *store = SSL_CTX_get_cert_store(context);
  for (size_t i = 0; i < root_count; i++) {
    X509 *root = parse(roots[i]);
    ok = root != NULL && X509_STORE_add_cert(store, root);
    X509_free(root);
    if (!ok)
      return "a root of the trust bundle";
  }
  // A bundle may name an intermediate as its root.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return NULL;
}

struct weft_tls_context *weft_tls_context_new(const struct weft_bytes *chain, size_t chain_count, struct weft_bytes key,
                                              const struct weft_bytes *roots, size_t root_count, int is_server,
                                              char *error, size_t error_capacity)
{
  static const unsigned char h2[] = {2, 'h', '2'};
  ERR_clear_error();
  SSL_CTX *context = io_method() ? SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method()) : NULL;
  if (context == NULL) {
    fail("a TLS context", error, error_capacity);
    return NULL;
  }
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_verify_depth(context, 5);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (is_server)
    SSL_CTX_set_alpn_select_cb(context, select_h2, NULL);
  else
    SSL_CTX_set_alpn_protos(context, h2, sizeof h2);
  const char *problem = configure(context, chain, chain_count, key, roots, root_count);
  if (problem != NULL) {
    fail(problem, error, error_capacity);
    SSL_CTX_free(context);
    return NULL;
  }
  return (struct weft_tls_context *)context;
}

void weft_tls_context_free(struct weft_tls_context *context)
{
  SSL_CTX_free((SSL_CTX *)context);
}

struct weft_tls *weft_tls_new(struct weft_tls_context *context, struct weft_tls_io *io, int is_server)
{
  SSL *ssl = SSL_new((SSL_CTX *)context);
  BIO *bio = ssl ? BIO_new(io_method()) : NULL;
  if (bio == NULL) {
    SSL_free(ssl);
    return NULL;
  }
  BIO_set_data(bio, io);
  SSL_set_bio(ssl, bio, bio);
  if (is_server)
    SSL_set_accept_state(ssl);
  else
    SSL_set_connect_state(ssl);
  return (struct weft_tls *)ssl;
}

void weft_tls_free(struct weft_tls *tls)
{
  SSL_free((SSL *)tls);
}

void weft_tls_shutdown(struct weft_tls *tls)
{
  SSL_shutdown((SSL *)tls);
}

static int result(SSL *ssl, int count)
{
  switch (SSL_get_error(ssl, count)) {
  case SSL_ERROR_WANT_READ:
    return WEFT_TLS_WANT_READ;
  case SSL_ERROR_ZERO_RETURN:
    return WEFT_TLS_CLOSED;
  default:
    return WEFT_TLS_FAILED;
  }
}

int weft_tls_handshake(struct weft_tls *tls)
{
  SSL *ssl = (SSL *)tls;
  ERR_clear_error();
  int count = SSL_do_handshake(ssl);
  return count == 1 ? WEFT_TLS_OK : result(ssl, count);
}

int weft_tls_read(struct weft_tls *tls, void *data, int capacity)
{
  SSL *ssl = (SSL *)tls;
  ERR_clear_error();
  int count = SSL_read(ssl, data, capacity);
  return count > 0 ? count : result(ssl, count);
}

int weft_tls_write(struct weft_tls *tls, const void *data, int length)
{
  SSL *ssl = (SSL *)tls;
  ERR_clear_error();
  int count = SSL_write(ssl, data, length < 16384 ? length : 16384);
  return count > 0 ? count : WEFT_TLS_FAILED;
}

void weft_tls_error(struct weft_tls *tls, char *error, size_t capacity)
{
  SSL *ssl = (SSL *)tls;
  unsigned long code = ERR_peek_last_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
    snprintf(error, capacity, "%s", X509_verify_cert_error_string(SSL_get_verify_result(ssl)));
  else if (code != 0)
    describe(code, error, capacity);
  else
    snprintf(error, capacity, "the connection was closed");
  ERR_clear_error();
}

int weft_tls_peer_uri(struct weft_tls *tls, char *out, size_t capacity)
{
  SSL *ssl = (SSL *)tls;
  X509 *certificate = SSL_get_peer_certificate(ssl);
  if (certificate == NULL)
    return -1;
  int found = 0;
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI)
      continue;
    int length = ASN1_STRING_length(name->d.uniformResourceIdentifier);
    const unsigned char *data = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
    // A name with a NUL byte inside, or too long, counts as found but never matches.
    if (found++ == 0 && length > 0 && (size_t)length < capacity && memchr(data, 0, (size_t)length) == NULL) {
      memcpy(out, data, (size_t)length);
      out[length] = 0;
    }
  }
  GENERAL_NAMES_free(names);
  X509_free(certificate);
  return found;
}

int weft_tls_alpn_is_h2(struct weft_tls *tls)
{
  SSL *ssl = (SSL *)tls;
  const unsigned char *name = NULL;
  unsigned int length = 0;
  SSL_get0_alpn_selected(ssl, &name, &length);
  return length == 2 && memcmp(name, "h2", 2) == 0;
}
