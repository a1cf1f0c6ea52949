#include "include/stub_tls.h"
#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static void describe(char *text, size_t capacity)
{
  unsigned long code = ERR_peek_last_error();
  const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
  if (reason != NULL)
    snprintf(text, capacity, "%s", reason);
  else if (code != 0)
    snprintf(text, capacity, "TLS error %lx", code);
  else
    snprintf(text, capacity, "the connection was closed");
  ERR_clear_error();
}

static void fail(const char *what, char *error, size_t capacity)
{
  char reason[160];
  describe(reason, sizeof reason);
  if (capacity > 0)
    snprintf(error, capacity, "%s can't be used: %s", what, reason);
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

static int use_chain(SSL_CTX *context, const char *pem, size_t length)
{
  BIO *bio = BIO_new_mem_buf(pem, (int)length);
  int count = 0, ok = bio != NULL;
  for (X509 *certificate; ok && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
    ok = count == 0 ? SSL_CTX_use_certificate(context, certificate) : SSL_CTX_add1_chain_cert(context, certificate);
    X509_free(certificate);
  }
  BIO_free(bio);
  return ok && count > 0;
}

static int use_key(SSL_CTX *context, const char *pem, size_t length)
{
  BIO *bio = BIO_new_mem_buf(pem, (int)length);
  EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
  int ok = key != NULL && SSL_CTX_use_PrivateKey(context, key) && SSL_CTX_check_private_key(context);
  EVP_PKEY_free(key);
  BIO_free(bio);
  return ok;
}

static int use_roots(SSL_CTX *context, const char *pem, size_t length)
{
  X509_STORE *store = SSL_CTX_get_cert_store(context);
  BIO *bio = BIO_new_mem_buf(pem, (int)length);
  int count = 0, ok = bio != NULL;
  for (X509 *root; ok && (root = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
    ok = X509_STORE_add_cert(store, root);
    X509_free(root);
  }
  BIO_free(bio);
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  return ok && count > 0;
}

struct stub_tls_context *stub_tls_context_new(const char *chain, size_t chain_length, const char *key,
                                              size_t key_length, const char *roots, size_t roots_length, int is_server,
                                              char *error, size_t capacity)
{
  static const unsigned char h2[] = {2, 'h', '2'};
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  ERR_clear_error();
  SSL_CTX *context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
  if (context == NULL) {
    fail("TLS", error, capacity);
    return NULL;
  }
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  // The suite that costs the least where the processor has AES.
  SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384");
  SSL_CTX_set1_groups_list(context, "X25519:P-256");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_verify_depth(context, 5);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  // Else each record costs two reads: one for its header.
  SSL_CTX_set_read_ahead(context, 1);
  if (is_server)
    SSL_CTX_set_alpn_select_cb(context, select_h2, NULL);
  else
    SSL_CTX_set_alpn_protos(context, h2, sizeof h2);
  const char *problem = NULL;
  if (chain_length > 0 && !use_chain(context, chain, chain_length))
    problem = "the certificate";
  else if (key_length > 0 && !use_key(context, key, key_length))
    problem = "the private key";
  else if (!use_roots(context, roots, roots_length))
    problem = "the trust bundle";
  if (problem != NULL) {
    fail(problem, error, capacity);
    SSL_CTX_free(context);
    return NULL;
  }
  // Reading to the end of PEM leaves an error behind.
  ERR_clear_error();
  return (struct stub_tls_context *)context;
}

void stub_tls_context_free(struct stub_tls_context *context)
{
  SSL_CTX_free((SSL_CTX *)context);
}

struct stub_tls *stub_tls_new(struct stub_tls_context *context, int fd, int is_server)
{
  SSL *ssl = SSL_new((SSL_CTX *)context);
  if (ssl == NULL || !SSL_set_fd(ssl, fd)) {
    SSL_free(ssl);
    return NULL;
  }
  if (is_server)
    SSL_set_accept_state(ssl);
  else
    SSL_set_connect_state(ssl);
  return (struct stub_tls *)ssl;
}

void stub_tls_free(struct stub_tls *tls)
{
  SSL_free((SSL *)tls);
}

static int result(SSL *ssl, int count)
{
  switch (SSL_get_error(ssl, count)) {
  case SSL_ERROR_WANT_READ:
    return STUB_TLS_WANT_READ;
  case SSL_ERROR_WANT_WRITE:
    return STUB_TLS_WANT_WRITE;
  case SSL_ERROR_ZERO_RETURN:
    return STUB_TLS_CLOSED;
  default:
    return STUB_TLS_FAILED;
  }
}

int stub_tls_handshake(struct stub_tls *tls)
{
  ERR_clear_error();
  int count = SSL_do_handshake((SSL *)tls);
  return count == 1 ? 0 : result((SSL *)tls, count);
}

int stub_tls_read(struct stub_tls *tls, void *data, int capacity)
{
  ERR_clear_error();
  int count = SSL_read((SSL *)tls, data, capacity);
  return count > 0 ? count : result((SSL *)tls, count);
}

int stub_tls_write(struct stub_tls *tls, const void *data, int length)
{
  ERR_clear_error();
  int count = SSL_write((SSL *)tls, data, length);
  return count > 0 ? count : result((SSL *)tls, count);
}

void stub_tls_shutdown(struct stub_tls *tls)
{
  ERR_clear_error();
  SSL_shutdown((SSL *)tls);
}

int stub_tls_is_h2(struct stub_tls *tls)
{
  const unsigned char *name = NULL;
  unsigned int length = 0;
  SSL_get0_alpn_selected((SSL *)tls, &name, &length);
  return length == 2 && memcmp(name, "h2", 2) == 0;
}

int stub_tls_peer_uri(struct stub_tls *tls, char *out, size_t capacity)
{
  X509 *certificate = SSL_get0_peer_certificate((SSL *)tls);
  int found = 0;
  if (capacity > 0)
    out[0] = 0;
  GENERAL_NAMES *names = certificate ? X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL) : NULL;
  for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI)
      continue;
    int length = ASN1_STRING_length(name->d.uniformResourceIdentifier);
    const unsigned char *data = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
    if (found++ == 0 && length > 0 && (size_t)length < capacity && memchr(data, 0, (size_t)length) == NULL) {
      memcpy(out, data, (size_t)length);
      out[length] = 0;
    }
  }
  GENERAL_NAMES_free(names);
  return found;
}

int stub_tls_peer_is_named(struct stub_tls *tls, const char *host)
{
  X509 *certificate = SSL_get0_peer_certificate((SSL *)tls);
  return certificate != NULL && (X509_check_ip_asc(certificate, host, 0) == 1 ||
                                 X509_check_host(certificate, host, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1);
}

void stub_tls_error(struct stub_tls *tls, char *error, size_t capacity)
{
  unsigned long code = ERR_peek_last_error();
  int system = errno;
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
    snprintf(error, capacity, "the peer's certificate is refused: %s",
             X509_verify_cert_error_string(SSL_get_verify_result((SSL *)tls)));
  else if (code == 0 && system != 0)
    snprintf(error, capacity, "%s", strerror(system));
  else
    describe(error, capacity);
  ERR_clear_error();
}
