#define _GNU_SOURCE
#include "weft_netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

struct netns_job {
  int netns;
  uint64_t cookie;
  int error;
};

// Entering it needs CAP_SYS_ADMIN, also where it is the own one.
static int is_own(int netns)
{
  struct stat own, other;
  return stat("/proc/thread-self/ns/net", &own) == 0 && fstat(netns, &other) == 0 && own.st_dev == other.st_dev &&
         own.st_ino == other.st_ino;
}

int weft_netns_enter_cookie(int netns, uint64_t *cookie)
{
  if (!is_own(netns) && setns(netns, CLONE_NEWNET) != 0)
    return errno;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return errno;
  socklen_t length = sizeof *cookie;
  int error = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &length) == 0 ? 0 : errno;
  close(fd);
  return error;
}

static void *read_cookie(void *argument)
{
  struct netns_job *job = argument;
  job->error = weft_netns_enter_cookie(job->netns, &job->cookie);
  return NULL;
}

static void *make_netns(void *argument)
{
  struct netns_job *job = argument;
  if (unshare(CLONE_NEWNET) != 0) {
    job->error = errno;
    return NULL;
  }
  job->netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (job->netns < 0)
    job->error = errno;
  return NULL;
}

static int on_own_thread(void *(*body)(void *), struct netns_job *job)
{
  pthread_t thread;
  int failed = pthread_create(&thread, NULL, body, job);
  if (failed)
    return failed;
  failed = pthread_join(thread, NULL);
  return failed ? failed : job->error;
}

int weft_netns_cookie(int netns, uint64_t *cookie)
{
  struct netns_job job = {.netns = netns};
  int error = on_own_thread(read_cookie, &job);
  *cookie = job.cookie;
  return error;
}

int weft_netns_make(int *netns)
{
  struct netns_job job = {.netns = -1};
  int error = on_own_thread(make_netns, &job);
  *netns = job.netns;
  return error;
}

int weft_netns_of_socket(int sock, int *netns)
{
  *netns = ioctl(sock, SIOCGSKNS);
  return *netns < 0 ? errno : 0;
}

int weft_netns_addresses_of_socket(int sock, uint32_t *addresses, size_t count)
{
  struct ifreq entries[64];
  struct ifconf list = {.ifc_len = sizeof entries, .ifc_req = entries};
  if (ioctl(sock, SIOCGIFCONF, &list) < 0)
    return -errno;
  size_t found = 0;
  for (size_t i = 0; i < (size_t)list.ifc_len / sizeof *entries && found < count; i++) {
    const struct sockaddr_in *address = (const struct sockaddr_in *)&entries[i].ifr_addr;
    if (address->sin_family == AF_INET && address->sin_addr.s_addr != htonl(INADDR_LOOPBACK))
      addresses[found++] = ntohl(address->sin_addr.s_addr);
  }
  return (int)found;
}

int weft_netns_enter(int netns)
{
  return setns(netns, CLONE_NEWNET) == 0 ? 0 : errno;
}

int weft_thread_capabilities(uint64_t *effective)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{0}};
  if (syscall(SYS_capget, &header, data) != 0)
    return errno;
  *effective = (uint64_t)data[1].effective << 32 | data[0].effective;
  return 0;
}

int weft_thread_drop_capabilities(void)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{0}};
  return syscall(SYS_capset, &header, data) == 0 ? 0 : errno;
}

int weft_mount_bpffs(const char *directory)
{
  return mount("bpf", directory, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0 ? 0 : errno;
}

int weft_is_bpffs(const char *path)
{
  struct statfs info;
  if (statfs(path, &info) != 0)
    return -errno;
  return (unsigned long)info.f_type == BPF_FS_MAGIC;
}
