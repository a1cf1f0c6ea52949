// The socket options of the capture programs, from bpf/include/weft_maps.h: for the proxy, which doesn't link libbpf.
#pragma once
#include <stdint.h>

extern const int32_t weft_option_original_destination;
extern const int32_t weft_option_client_address;
// + the slot
extern const int32_t weft_option_dns_server;
// Of the one IPv6 server; those below are of IPv4 servers.
extern const int32_t weft_dns_slot6;

// struct weft_sockaddr, which the options give and take: its size, and where its fields stand. The family is in host
// order, the rest in network order.
extern const int32_t weft_sockaddr_size;
extern const int32_t weft_sockaddr_family_offset;
extern const int32_t weft_sockaddr_port_offset;
extern const int32_t weft_sockaddr_address_offset;
