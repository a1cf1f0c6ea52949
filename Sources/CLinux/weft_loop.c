#define _GNU_SOURCE
#include "weft_loop.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int weft_epoll_add(int epoll, int fd, uint32_t events, void *pointer)
{
  struct epoll_event event = {.events = events, .data.ptr = pointer};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int weft_epoll_remove(int epoll, int fd)
{
  struct epoll_event event = {0};
  return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event) < 0 ? -errno : 0;
}

void *weft_epoll_pointer(const struct epoll_event *event)
{
  return event->data.ptr;
}

int weft_accept(int listener, struct sockaddr *address, socklen_t *length)
{
  int fd = accept4(listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int weft_unacknowledged(int fd)
{
  int bytes = 0;
  return ioctl(fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

static void map_v4(const struct in_addr *in, uint8_t *out)
{
  memset(out, 0, 10);
  out[10] = out[11] = 0xff;
  memcpy(out + 12, in, 4);
}

ssize_t weft_receive_datagram(int fd, void *data, size_t capacity, uint8_t *local_out, uint8_t *peer_out,
                              uint16_t *peer_port_out, int *truncated_out)
{
  union {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } peer;
  union {
    struct cmsghdr align;
    uint8_t space[256];
  } control;
  struct iovec vector = {.iov_base = data, .iov_len = capacity};
  struct msghdr message = {.msg_name = &peer,
                           .msg_namelen = sizeof peer,
                           .msg_iov = &vector,
                           .msg_iovlen = 1,
                           .msg_control = control.space,
                           .msg_controllen = sizeof control.space};
  ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT);
  if (length < 0)
    return -errno;
  *truncated_out = (message.msg_flags & MSG_TRUNC) != 0;
  memset(local_out, 0, 16);
  if (peer.v4.sin_family == AF_INET) {
    map_v4(&peer.v4.sin_addr, peer_out);
    *peer_port_out = ntohs(peer.v4.sin_port);
  } else {
    memcpy(peer_out, &peer.v6.sin6_addr, 16);
    *peer_port_out = ntohs(peer.v6.sin6_port);
  }
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
      memcpy(local_out, &((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr, 16);
    else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
      map_v4(&((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr, local_out);
  }
  return length;
}

ssize_t weft_send_datagram(int fd, const void *data, size_t length, const uint8_t *local, const uint8_t *peer,
                           uint16_t peer_port)
{
  int domain = 0;
  socklen_t domain_length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_length) < 0)
    return -errno;
  union {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } to;
  memset(&to, 0, sizeof to);
  union {
    struct cmsghdr align;
    uint8_t space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  } control;
  memset(&control, 0, sizeof control);
  struct iovec vector = {.iov_base = (void *)data, .iov_len = length};
  struct msghdr message = {.msg_name = &to, .msg_iov = &vector, .msg_iovlen = 1};
  if (domain == AF_INET) {
    to.v4.sin_family = AF_INET;
    to.v4.sin_port = htons(peer_port);
    memcpy(&to.v4.sin_addr, peer + 12, 4);
    message.msg_namelen = sizeof to.v4;
  } else {
    to.v6.sin6_family = AF_INET6;
    to.v6.sin6_port = htons(peer_port);
    memcpy(&to.v6.sin6_addr, peer, 16);
    message.msg_namelen = sizeof to.v6;
  }
  if (local != NULL) {
    message.msg_control = control.space;
    struct cmsghdr *c = (struct cmsghdr *)control.space;
    if (domain == AF_INET) {
      message.msg_controllen = CMSG_SPACE(sizeof(struct in_pktinfo));
      c->cmsg_level = IPPROTO_IP;
      c->cmsg_type = IP_PKTINFO;
      c->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
      memcpy(&((struct in_pktinfo *)CMSG_DATA(c))->ipi_spec_dst, local + 12, 4);
    } else {
      message.msg_controllen = CMSG_SPACE(sizeof(struct in6_pktinfo));
      c->cmsg_level = IPPROTO_IPV6;
      c->cmsg_type = IPV6_PKTINFO;
      c->cmsg_len = CMSG_LEN(sizeof(struct in6_pktinfo));
      memcpy(&((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_addr, local, 16);
    }
  }
  ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

// The first object that is told is the program itself. Only segments that are never written to: their pages are the
// file's.
static int release_code(struct dl_phdr_info *info, size_t size, void *unused)
{
  (void)size, (void)unused;
  uintptr_t page = sysconf(_SC_PAGESIZE);
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || segment->p_flags != (PF_R | PF_X))
      continue;
    uintptr_t begin = (info->dlpi_addr + segment->p_vaddr + page - 1) / page * page;
    uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) / page * page;
    if (end > begin)
      madvise((void *)begin, end - begin, MADV_DONTNEED);
  }
  return 1;
}

void weft_release_startup_code(void)
{
  dl_iterate_phdr(release_code, NULL);
}

void weft_return_freed_memory(void)
{
  // Set at all, the threshold grows no more.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  mallopt(M_ARENA_MAX, 2);
}

void weft_keep_freed_memory(void)
{
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  mallopt(M_TRIM_THRESHOLD, 8 << 20);
  mallopt(M_TOP_PAD, 256 << 10);
}

void weft_name_thread(const char *name)
{
  prctl(PR_SET_NAME, name);
}

int weft_forbid_dumps(void)
{
  struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
    return -errno;
  return 0;
}

#define DENY(name)                                                                                                     \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(name), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

int weft_restrict_system_calls(void)
{
  static struct sock_filter filter[] = {
#if defined(__x86_64__)
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    // The x32 calls have numbers of their own.
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
#else
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#endif
    DENY(__NR_execve),
    DENY(__NR_execveat),
    DENY(__NR_bpf),
    DENY(__NR_ptrace),
    DENY(__NR_process_vm_readv),
    DENY(__NR_process_vm_writev),
    DENY(__NR_setns),
    DENY(__NR_unshare),
    DENY(__NR_mount),
    DENY(__NR_umount2),
    DENY(__NR_pivot_root),
    DENY(__NR_chroot),
    DENY(__NR_init_module),
    DENY(__NR_finit_module),
    DENY(__NR_delete_module),
    DENY(__NR_kexec_load),
    DENY(__NR_reboot),
    DENY(__NR_swapon),
    DENY(__NR_swapoff),
    DENY(__NR_add_key),
    DENY(__NR_request_key),
    DENY(__NR_keyctl),
    DENY(__NR_perf_event_open),
    DENY(__NR_userfaultfd),
    DENY(__NR_open_by_handle_at),
    DENY(__NR_name_to_handle_at),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return -errno;
  // SECCOMP_FILTER_FLAG_TSYNC: also for threads that run already.
  if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
    return -errno;
  return 0;
}
