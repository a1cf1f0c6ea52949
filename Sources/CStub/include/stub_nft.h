// The redirect of a pod's TCP connections, written to nf_tables over netlink: no program is started, so an image
// without nft can do it. One transaction a family: all of it holds or nothing.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct stub_nft_network {
  // 16 bytes, IPv4 mapped.
  uint8_t address[16];
  // Of 128 bits; of an IPv4 network at least 96.
  uint8_t prefix;
};

struct stub_nft_plan {
  // Connections of this user aren't redirected.
  uint32_t user;
  uint16_t outbound_port;
  uint16_t inbound_port;
  const uint16_t *excluded_outbound_ports;
  size_t excluded_outbound_count;
  const uint16_t *excluded_inbound_ports;
  size_t excluded_inbound_count;
  const struct stub_nft_network *excluded_networks;
  size_t excluded_network_count;
};

// Replaces the table weft_stub of the family (AF_INET, AF_INET6), or removes it (`plan` NULL). 0, or -errno with a
// reason.
int stub_nft_apply(int family, const struct stub_nft_plan *plan, char *error, size_t capacity);
