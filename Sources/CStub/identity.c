#include "include/stub_identity.h"
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int say(char *error, size_t capacity, const char *text)
{
  ERR_clear_error();
  snprintf(error, capacity, "%s", text);
  return -1;
}

static X509_REQ *request_for(const char *uri, EVP_PKEY *key)
{
  X509_REQ *request = X509_REQ_new();
  GENERAL_NAMES *names = GENERAL_NAMES_new();
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_IA5STRING *text = ASN1_IA5STRING_new();
  STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
  int ok = request && names && name && text && extensions && ASN1_STRING_set(text, uri, -1);
  if (ok) {
    GENERAL_NAME_set0_value(name, GEN_URI, text);
    sk_GENERAL_NAME_push(names, name);
    ok = X509V3_add1_i2d((STACK_OF(X509_EXTENSION) **)&extensions, NID_subject_alt_name, names, 0, 0) &&
         X509_REQ_add_extensions(request, extensions) && X509_REQ_set_pubkey(request, key) &&
         X509_REQ_sign(request, key, EVP_sha256());
  }
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  GENERAL_NAMES_free(names);
  if (ok)
    return request;
  X509_REQ_free(request);
  return NULL;
}

int stub_make_request(const char *uri, char **key_out, size_t *key_length_out, uint8_t **request_out,
                      size_t *request_length_out, char *error, size_t capacity)
{
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  EVP_PKEY *key = EVP_EC_gen("P-256");
  if (key == NULL)
    return say(error, capacity, "can't make a P-256 key");
  X509_REQ *request = request_for(uri, key);
  unsigned char *der = NULL;
  int length = request ? i2d_X509_REQ(request, &der) : -1;
  X509_REQ_free(request);
  BIO *bio = BIO_new(BIO_s_secmem());
  char *pem = NULL;
  long pem_length =
      bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) ? BIO_get_mem_data(bio, &pem) : 0;
  EVP_PKEY_free(key);
  char *copy = pem_length > 0 ? OPENSSL_malloc((size_t)pem_length) : NULL;
  if (copy != NULL)
    memcpy(copy, pem, (size_t)pem_length);
  BIO_free(bio);
  if (length <= 0 || copy == NULL) {
    OPENSSL_free(der);
    OPENSSL_clear_free(copy, (size_t)pem_length);
    return say(error, capacity, "can't make a signing request");
  }
  *key_out = copy;
  *key_length_out = (size_t)pem_length;
  *request_out = der;
  *request_length_out = (size_t)length;
  return 0;
}

void stub_free_secret(void *data, size_t length)
{
  OPENSSL_clear_free(data, length);
}

static int64_t seconds(const ASN1_TIME *time)
{
  struct tm parts = {0};
  return ASN1_TIME_to_tm(time, &parts) ? (int64_t)timegm(&parts) : 0;
}

int stub_certificate_facts(const char *pem, size_t length, int64_t *not_before_out, int64_t *not_after_out,
                           char *uri_out, size_t uri_capacity, char *error, size_t capacity)
{
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  BIO *bio = BIO_new_mem_buf(pem, (int)length);
  X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
  BIO_free(bio);
  if (certificate == NULL)
    return say(error, capacity, "there is no certificate in PEM");
  *not_before_out = seconds(X509_get0_notBefore(certificate));
  *not_after_out = seconds(X509_get0_notAfter(certificate));
  uri_out[0] = 0;
  int found = 0;
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI || found++ > 0)
      continue;
    size_t size = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
    const unsigned char *data = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
    if (size < uri_capacity && memchr(data, 0, size) == NULL) {
      memcpy(uri_out, data, size);
      uri_out[size] = 0;
    }
  }
  if (found != 1)
    uri_out[0] = 0;
  GENERAL_NAMES_free(names);
  X509_free(certificate);
  ERR_clear_error();
  return 0;
}

int stub_pem_from_der(const uint8_t *der, size_t length, char *out, size_t capacity)
{
  const unsigned char *at = der;
  X509 *certificate = d2i_X509(NULL, &at, (long)length);
  BIO *bio = BIO_new(BIO_s_mem());
  char *text = NULL;
  long size = -1;
  if (certificate != NULL && bio != NULL && at == der + length && PEM_write_bio_X509(bio, certificate))
    size = BIO_get_mem_data(bio, &text);
  if (size > 0 && (size_t)size <= capacity)
    memcpy(out, text, (size_t)size);
  else
    size = -1;
  X509_free(certificate);
  BIO_free(bio);
  ERR_clear_error();
  return (int)size;
}
