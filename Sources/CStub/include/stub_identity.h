// Keys, signing requests and certificates.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Makes a P-256 key and a PKCS #10 request whose one SAN is `uri`. Returns 0 with the key in PEM (PKCS #8) and the
// request in DER, both to be freed with stub_free_secret; -1 on failure.
int stub_make_request(const char *uri, char **key_out, size_t *key_length_out, uint8_t **request_out,
                      size_t *request_length_out, char *error, size_t capacity);
// Overwrites the bytes before it frees them.
void stub_free_secret(void *data, size_t length);
// Of the first certificate in PEM: its times in seconds since 1970 and its URI SAN where it has exactly one (else
// empty). 0, or -1 with a reason.
int stub_certificate_facts(const char *pem, size_t length, int64_t *not_before_out, int64_t *not_after_out,
                           char *uri_out, size_t uri_capacity, char *error, size_t capacity);
// One certificate's DER as PEM into `out`; the length, or -1 where it is none or doesn't fit.
int stub_pem_from_der(const uint8_t *der, size_t length, char *out, size_t capacity);
