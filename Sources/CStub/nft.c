#include "include/stub_nft.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CAPACITY = 256 << 10, SOURCE_NAT_PRIORITY = 100, DESTINATION_NAT_PRIORITY = -100, LOOPBACK_INDEX = 1 };
static const char TABLE[] = "weft_stub";

struct batch {
  uint8_t bytes[CAPACITY];
  size_t length;
  uint32_t sequence;
  int family;
  int is_full;
};

static void *append(struct batch *batch, const void *data, size_t length)
{
  size_t padded = NLMSG_ALIGN(length);
  if (batch->length + padded > CAPACITY) {
    batch->is_full = 1;
    return NULL;
  }
  uint8_t *place = batch->bytes + batch->length;
  memset(place, 0, padded);
  if (data != NULL)
    memcpy(place, data, length);
  batch->length += padded;
  return place;
}

static size_t begin(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
  size_t start = batch->length;
  struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags, .nlmsg_seq = ++batch->sequence};
  struct nfgenmsg general = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
  append(batch, &header, sizeof header);
  append(batch, &general, sizeof general);
  return start;
}

static size_t begin_table(struct batch *batch, int message, uint16_t flags)
{
  return begin(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message), flags | NLM_F_ACK, (uint8_t)batch->family, 0);
}

static void end(struct batch *batch, size_t start)
{
  if (!batch->is_full)
    ((struct nlmsghdr *)(batch->bytes + start))->nlmsg_len = (uint32_t)(batch->length - start);
}

static void put(struct batch *batch, uint16_t type, const void *data, size_t length)
{
  struct nlattr header = {.nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type};
  append(batch, &header, sizeof header);
  append(batch, data, length);
}

static void put_text(struct batch *batch, uint16_t type, const char *text)
{
  put(batch, type, text, strlen(text) + 1);
}

static void put_number(struct batch *batch, uint16_t type, uint32_t value)
{
  uint32_t big = htonl(value);
  put(batch, type, &big, sizeof big);
}

static size_t nest(struct batch *batch, uint16_t type)
{
  size_t start = batch->length;
  put(batch, type | NLA_F_NESTED, NULL, 0);
  return start;
}

static void unnest(struct batch *batch, size_t start)
{
  if (!batch->is_full)
    ((struct nlattr *)(batch->bytes + start))->nla_len = (uint16_t)(batch->length - start);
}

struct expression {
  size_t element, data;
};

static struct expression open_expression(struct batch *batch, const char *name)
{
  struct expression expression = {.element = nest(batch, NFTA_LIST_ELEM)};
  put_text(batch, NFTA_EXPR_NAME, name);
  expression.data = nest(batch, NFTA_EXPR_DATA);
  return expression;
}

static void close_expression(struct batch *batch, struct expression expression)
{
  unnest(batch, expression.data);
  unnest(batch, expression.element);
}

static void put_value(struct batch *batch, uint16_t type, const void *value, size_t length)
{
  size_t data = nest(batch, type);
  put(batch, NFTA_DATA_VALUE, value, length);
  unnest(batch, data);
}

static void compare(struct batch *batch, const void *value, size_t length)
{
  struct expression expression = open_expression(batch, "cmp");
  put_number(batch, NFTA_CMP_SREG, NFT_REG_1);
  put_number(batch, NFTA_CMP_OP, NFT_CMP_EQ);
  put_value(batch, NFTA_CMP_DATA, value, length);
  close_expression(batch, expression);
}

static void meta_is(struct batch *batch, uint32_t key, const void *value, size_t length)
{
  struct expression expression = open_expression(batch, "meta");
  put_number(batch, NFTA_META_DREG, NFT_REG_1);
  put_number(batch, NFTA_META_KEY, key);
  close_expression(batch, expression);
  compare(batch, value, length);
}

static void is_tcp(struct batch *batch)
{
  uint8_t tcp = IPPROTO_TCP;
  meta_is(batch, NFT_META_L4PROTO, &tcp, sizeof tcp);
}

static void load(struct batch *batch, uint32_t base, uint32_t offset, uint32_t length)
{
  struct expression expression = open_expression(batch, "payload");
  put_number(batch, NFTA_PAYLOAD_DREG, NFT_REG_1);
  put_number(batch, NFTA_PAYLOAD_BASE, base);
  put_number(batch, NFTA_PAYLOAD_OFFSET, offset);
  put_number(batch, NFTA_PAYLOAD_LEN, length);
  close_expression(batch, expression);
}

static void mask(struct batch *batch, const void *bits, uint32_t length)
{
  static const uint8_t zero[16];
  struct expression expression = open_expression(batch, "bitwise");
  put_number(batch, NFTA_BITWISE_SREG, NFT_REG_1);
  put_number(batch, NFTA_BITWISE_DREG, NFT_REG_1);
  put_number(batch, NFTA_BITWISE_LEN, length);
  put_value(batch, NFTA_BITWISE_MASK, bits, length);
  put_value(batch, NFTA_BITWISE_XOR, zero, length);
  close_expression(batch, expression);
}

static void leave(struct batch *batch)
{
  struct expression expression = open_expression(batch, "immediate");
  put_number(batch, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  size_t data = nest(batch, NFTA_IMMEDIATE_DATA);
  size_t verdict = nest(batch, NFTA_DATA_VERDICT);
  put_number(batch, NFTA_VERDICT_CODE, (uint32_t)NFT_RETURN);
  unnest(batch, verdict);
  unnest(batch, data);
  close_expression(batch, expression);
}

static void redirect(struct batch *batch, uint16_t port)
{
  uint16_t big = htons(port);
  struct expression expression = open_expression(batch, "immediate");
  put_number(batch, NFTA_IMMEDIATE_DREG, NFT_REG_1);
  put_value(batch, NFTA_IMMEDIATE_DATA, &big, sizeof big);
  close_expression(batch, expression);
  expression = open_expression(batch, "redir");
  put_number(batch, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
  close_expression(batch, expression);
}

struct rule {
  size_t message, expressions;
};

static struct rule open_rule(struct batch *batch, const char *chain)
{
  struct rule rule = {.message = begin_table(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)};
  put_text(batch, NFTA_RULE_TABLE, TABLE);
  put_text(batch, NFTA_RULE_CHAIN, chain);
  rule.expressions = nest(batch, NFTA_RULE_EXPRESSIONS);
  return rule;
}

static void close_rule(struct batch *batch, struct rule rule)
{
  unnest(batch, rule.expressions);
  end(batch, rule.message);
}

static void add_table(struct batch *batch, int message)
{
  size_t start = begin_table(batch, message, message == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);
  put_text(batch, NFTA_TABLE_NAME, TABLE);
  end(batch, start);
}

static void add_chain(struct batch *batch, const char *name, uint32_t hook, int32_t priority)
{
  size_t start = begin_table(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  put_text(batch, NFTA_CHAIN_TABLE, TABLE);
  put_text(batch, NFTA_CHAIN_NAME, name);
  size_t place = nest(batch, NFTA_CHAIN_HOOK);
  put_number(batch, NFTA_HOOK_HOOKNUM, hook);
  put_number(batch, NFTA_HOOK_PRIORITY, (uint32_t)priority);
  unnest(batch, place);
  put_text(batch, NFTA_CHAIN_TYPE, "nat");
  end(batch, start);
}

static void leave_for_port(struct batch *batch, const char *chain, uint16_t port)
{
  uint16_t big = htons(port);
  struct rule rule = open_rule(batch, chain);
  is_tcp(batch);
  load(batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
  compare(batch, &big, sizeof big);
  leave(batch);
  close_rule(batch, rule);
}

static int is_v4(const struct stub_nft_network *network)
{
  static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return network->prefix >= 96 && memcmp(network->address, prefix, sizeof prefix) == 0;
}

static void leave_for_network(struct batch *batch, const char *chain, const struct stub_nft_network *network)
{
  int v4 = is_v4(network);
  if (v4 != (batch->family == AF_INET))
    return;
  uint8_t bits[16], value[16];
  for (int i = 0; i < 16; i++) {
    int here = network->prefix - 8 * i;
    bits[i] = here >= 8 ? 0xff : here <= 0 ? 0 : (uint8_t)(0xff << (8 - here));
    value[i] = network->address[i] & bits[i];
  }
  size_t skipped = v4 ? 12 : 0;
  uint32_t length = v4 ? 4 : 16;
  struct rule rule = open_rule(batch, chain);
  // Where the destination stands in the header.
  load(batch, NFT_PAYLOAD_NETWORK_HEADER, v4 ? 16 : 24, length);
  mask(batch, bits + skipped, length);
  compare(batch, value + skipped, length);
  leave(batch);
  close_rule(batch, rule);
}

static void leave_for_meta(struct batch *batch, const char *chain, uint32_t key, uint32_t value)
{
  struct rule rule = open_rule(batch, chain);
  meta_is(batch, key, &value, sizeof value);
  leave(batch);
  close_rule(batch, rule);
}

static void redirect_rest(struct batch *batch, const char *chain, uint16_t port)
{
  struct rule rule = open_rule(batch, chain);
  is_tcp(batch);
  redirect(batch, port);
  close_rule(batch, rule);
}

static void add_plan(struct batch *batch, const struct stub_nft_plan *plan)
{
  add_table(batch, NFT_MSG_NEWTABLE);
  add_chain(batch, "outbound", NF_INET_LOCAL_OUT, DESTINATION_NAT_PRIORITY);
  add_chain(batch, "inbound", NF_INET_PRE_ROUTING, DESTINATION_NAT_PRIORITY);
  // Kernels before 4.18 translate answers only where these hooks have a chain too.
  add_chain(batch, "answers_in", NF_INET_LOCAL_IN, SOURCE_NAT_PRIORITY);
  add_chain(batch, "answers_out", NF_INET_POST_ROUTING, SOURCE_NAT_PRIORITY);
  leave_for_meta(batch, "outbound", NFT_META_SKUID, plan->user);
  leave_for_meta(batch, "outbound", NFT_META_OIF, LOOPBACK_INDEX);
  for (size_t i = 0; i < plan->excluded_network_count; i++)
    leave_for_network(batch, "outbound", &plan->excluded_networks[i]);
  for (size_t i = 0; i < plan->excluded_outbound_count; i++)
    leave_for_port(batch, "outbound", plan->excluded_outbound_ports[i]);
  redirect_rest(batch, "outbound", plan->outbound_port);
  leave_for_meta(batch, "inbound", NFT_META_IIF, LOOPBACK_INDEX);
  for (size_t i = 0; i < plan->excluded_inbound_count; i++)
    leave_for_port(batch, "inbound", plan->excluded_inbound_ports[i]);
  redirect_rest(batch, "inbound", plan->inbound_port);
}

static int await_answers(int fd, uint32_t last)
{
  uint8_t answer[16 << 10];
  int problem = 0;
  for (;;) {
    ssize_t length = recv(fd, answer, sizeof answer, 0);
    if (length < 0 && errno == EINTR)
      continue;
    if (length < 0)
      return problem ? problem : -errno;
    size_t left = (size_t)length;
    for (struct nlmsghdr *header = (struct nlmsghdr *)answer; NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR)
        continue;
      int code = ((struct nlmsgerr *)NLMSG_DATA(header))->error;
      if (code != 0 && problem == 0)
        problem = code;
      // A batch that fails as a whole is answered once, under its first number.
      if (header->nlmsg_seq >= last || (code != 0 && header->nlmsg_seq <= 1))
        return problem;
    }
  }
}

int stub_nft_apply(int family, const struct stub_nft_plan *plan, char *error, size_t capacity)
{
  static struct batch batch;
  batch.length = batch.sequence = 0;
  batch.is_full = 0;
  batch.family = family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
  end(&batch, begin(&batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  // Made if it isn't there, so that removing it can't fail.
  add_table(&batch, NFT_MSG_NEWTABLE);
  add_table(&batch, NFT_MSG_DELTABLE);
  if (plan != NULL)
    add_plan(&batch, plan);
  uint32_t last = batch.sequence;
  end(&batch, begin(&batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  int code = batch.is_full ? -E2BIG : 0;
  int fd = code == 0 ? socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER) : -1;
  if (code == 0) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct timeval limit = {.tv_sec = 10};
    int large = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd < 0 || sendto(fd, batch.bytes, batch.length, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
      code = -errno;
    else
      code = await_answers(fd, last);
  }
  if (fd >= 0)
    close(fd);
  if (code != 0)
    snprintf(error, capacity, "nf_tables refuses the rules for IPv%d: %s", family == AF_INET ? 4 : 6, strerror(-code));
  return code;
}
