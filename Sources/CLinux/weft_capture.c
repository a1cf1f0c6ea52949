#include "include/weft_capture.h"

#include <linux/types.h>
#include <stddef.h>

#include "../../bpf/include/weft_maps.h"

const int32_t weft_option_original_destination = WEFT_SO_ORIGINAL_DST;
const int32_t weft_option_client_address = WEFT_SO_CLIENT_ADDRESS;
const int32_t weft_option_dns_server = WEFT_SO_DNS_SERVER_BASE;
const int32_t weft_dns_slot6 = WEFT_DNS_SLOT6;

const int32_t weft_sockaddr_size = sizeof(struct weft_sockaddr);
const int32_t weft_sockaddr_family_offset = offsetof(struct weft_sockaddr, family);
const int32_t weft_sockaddr_port_offset = offsetof(struct weft_sockaddr, port);
const int32_t weft_sockaddr_address_offset = offsetof(struct weft_sockaddr, addr);
