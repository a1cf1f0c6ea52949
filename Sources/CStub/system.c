#define _GNU_SOURCE
#include "include/stub_system.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/netfilter_ipv4.h>
#include <malloc.h>
#include <netdb.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IP6T_SO_ORIGINAL_DST
#define IP6T_SO_ORIGINAL_DST 80
#endif

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static void split(const union address *from, uint8_t *address_out, uint16_t *port_out)
{
  if (from->any.sa_family == AF_INET) {
    memset(address_out, 0, 10);
    address_out[10] = address_out[11] = 0xff;
    memcpy(address_out + 12, &from->v4.sin_addr, 4);
    *port_out = ntohs(from->v4.sin_port);
  } else {
    memcpy(address_out, &from->v6.sin6_addr, 16);
    *port_out = ntohs(from->v6.sin6_port);
  }
}

static int is_mapped(const uint8_t *address)
{
  static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return memcmp(address, prefix, sizeof prefix) == 0;
}

static void set_options(int fd)
{
  int on = 1, idle = 60, interval = 10, count = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

int stub_listen(uint16_t port, int only_loopback)
{
  // A dual-stack socket; where IPv6 is switched off, IPv4 alone.
  int on = 1, off = 0;
  union address address = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
  int fd = only_loopback ? -1 : socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  socklen_t length = sizeof address.v6;
  if (fd < 0) {
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    if (only_loopback)
      address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    length = sizeof address.v4;
  } else {
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (fd < 0)
    return -errno;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, &address.any, length) < 0 || listen(fd, 1024) < 0) {
    int code = errno;
    close(fd);
    return -code;
  }
  return fd;
}

int stub_accept(int listener, uint8_t *address_out, uint16_t *port_out)
{
  union address peer;
  socklen_t length = sizeof peer;
  int fd = accept4(listener, &peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0)
    return -errno;
  set_options(fd);
  split(&peer, address_out, port_out);
  return fd;
}

int stub_connect(const uint8_t *address, uint16_t port)
{
  union address to;
  socklen_t length;
  memset(&to, 0, sizeof to);
  if (is_mapped(address)) {
    to.v4.sin_family = AF_INET;
    to.v4.sin_port = htons(port);
    memcpy(&to.v4.sin_addr, address + 12, 4);
    length = sizeof to.v4;
  } else {
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = htons(port);
    memcpy(&to.v6.sin6_addr, address, 16);
    length = sizeof to.v6;
  }
  int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  set_options(fd);
  if (connect(fd, &to.any, length) < 0 && errno != EINPROGRESS) {
    int code = errno;
    close(fd);
    return -code;
  }
  return fd;
}

int stub_original_destination(int fd, uint8_t *address_out, uint16_t *port_out)
{
  union address to;
  socklen_t length = sizeof to;
  memset(&to, 0, sizeof to);
  if (getsockname(fd, &to.any, &length) < 0)
    return -errno;
  int is_v4 = to.any.sa_family == AF_INET || is_mapped((const uint8_t *)&to.v6.sin6_addr);
  length = is_v4 ? sizeof to.v4 : sizeof to.v6;
  if (getsockopt(fd, is_v4 ? IPPROTO_IP : IPPROTO_IPV6, is_v4 ? SO_ORIGINAL_DST : IP6T_SO_ORIGINAL_DST, &to, &length) <
      0)
    return -errno;
  split(&to, address_out, port_out);
  return 0;
}

int stub_socket_error(int fd)
{
  int code = 0;
  socklen_t length = sizeof code;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) < 0 ? errno : code;
}

void stub_reset_on_close(int fd)
{
  struct linger none = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

static socklen_t local_address(const char *name, struct sockaddr_un *out)
{
  memset(out, 0, sizeof *out);
  out->sun_family = AF_UNIX;
  snprintf(out->sun_path + 1, sizeof out->sun_path - 1, "%s", name);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(out->sun_path + 1));
}

int stub_listen_local(const char *name)
{
  struct sockaddr_un address;
  socklen_t length = local_address(name, &address);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 8) < 0) {
    int code = errno;
    close(fd);
    return -code;
  }
  return fd;
}

int stub_connect_local(const char *name)
{
  struct sockaddr_un address;
  struct timeval limit = {.tv_sec = 5};
  socklen_t length = local_address(name, &address);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr *)&address, length) < 0) {
    int code = errno;
    close(fd);
    return -code;
  }
  return fd;
}

int64_t stub_peer_user(int fd)
{
  struct ucred who;
  socklen_t length = sizeof who;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0 ? -1 : (int64_t)who.uid;
}

int stub_signals(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  signal(SIGPIPE, SIG_IGN);
  sigprocmask(SIG_SETMASK, &set, NULL);
  int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int stub_next_signal(int fd)
{
  struct signalfd_siginfo info;
  return read(fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

static void resolve_here(const char *host, int out)
{
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
  if (getaddrinfo(host, NULL, &hints, &found) != 0)
    _exit(1);
  int count = 0;
  for (struct addrinfo *each = found; each != NULL && count < 32; each = each->ai_next, count++) {
    union address address;
    uint8_t bytes[16];
    uint16_t port;
    memcpy(&address, each->ai_addr, each->ai_addrlen < sizeof address ? each->ai_addrlen : sizeof address);
    split(&address, bytes, &port);
    if (write(out, bytes, sizeof bytes) != sizeof bytes)
      _exit(1);
  }
  _exit(0);
}

int stub_resolve(const char *host, int *pid_out)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
    return -errno;
  pid_t pid = fork();
  if (pid < 0) {
    int code = errno;
    close(ends[0]);
    close(ends[1]);
    return -code;
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(10);
    resolve_here(host, ends[1]);
  }
  close(ends[1]);
  *pid_out = pid;
  return ends[0];
}

void stub_end_child(int pid)
{
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

// Opened before the process forbids that others, and so files in /proc, look into it.
static int pagemap = -1;

// Of a segment that is written to, the pages that never were: those are still the file's (bit 61) and can be had again.
static void release_unwritten(uintptr_t start, uintptr_t end, size_t page)
{
  enum { BATCH = 512 };
  static uint64_t entries[BATCH];
  const uint64_t present = 1ull << 63, file = 1ull << 61;
  while (pagemap >= 0 && start < end) {
    size_t count = (end - start) / page < BATCH ? (end - start) / page : BATCH;
    ssize_t length = pread(pagemap, entries, count * sizeof *entries, (off_t)(start / page * sizeof *entries));
    if (length <= 0)
      return;
    count = (size_t)length / sizeof *entries;
    for (size_t i = 0; i < count;) {
      size_t first = i;
      while (i < count && (entries[i] & (present | file)) == (present | file))
        i++;
      if (i > first)
        madvise((void *)(start + first * page), (i - first) * page, MADV_DONTNEED);
      else
        i++;
    }
    start += count * page;
  }
}

static int release(struct dl_phdr_info *info, size_t size, void *data)
{
  (void)size, (void)data;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD)
      continue;
    uintptr_t start = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
    uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
    if (segment->p_flags & PF_W)
      release_unwritten(start, end, page);
    else if (end > start)
      madvise((void *)start, end - start, MADV_DONTNEED);
  }
  return 0;
}

void stub_release_clean_pages(void)
{
  dl_iterate_phdr(release, NULL);
}

// With a touched page of a file the kernel maps those around it, 16 of a mapping; so the program's mappings are cut
// into pieces of 4, every other one marked (as not to be dumped, which nothing of it is).
static int cut(struct dl_phdr_info *info, size_t size, void *data)
{
  (void)size, (void)data;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), piece = 4 * page;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD)
      continue;
    uintptr_t start = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
    uintptr_t end = info->dlpi_addr + segment->p_vaddr + segment->p_filesz;
    for (uintptr_t at = start; at + piece <= end; at += 2 * piece)
      madvise((void *)at, piece, MADV_DONTDUMP);
  }
  return 0;
}

void stub_keep_memory_small(void)
{
  dl_iterate_phdr(cut, NULL);
  pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  // Else one touched page of the program may map 2 MiB of it.
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
  mallopt(M_TOP_PAD, 16 << 10);
}

void stub_trim_memory(void)
{
  malloc_trim(0);
}

int64_t stub_resident_bytes(void)
{
  char text[128];
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0)
    close(fd);
  if (length <= 0)
    return -1;
  text[length] = 0;
  const char *second = strchr(text, ' ');
  return second ? strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE) : -1;
}
