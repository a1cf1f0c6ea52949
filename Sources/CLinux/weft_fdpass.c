#define _GNU_SOURCE
#include "weft_fdpass.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// The kernel's SCM_MAX_FD.
enum { MAXIMUM = 253 };

ssize_t weft_send_with_fds(int sock, const void *data, size_t length, const int *fds, int count)
{
  if (count < 0 || count > MAXIMUM)
    return -EINVAL;
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(MAXIMUM * sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = (void *)data, .iov_len = length};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (count > 0) {
    message.msg_control = control.space;
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, (size_t)count * sizeof(int));
  }
  ssize_t sent = sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent < 0 ? -errno : sent;
}

ssize_t weft_receive_with_fds(int sock, void *data, size_t capacity, int *fds, int capacity_fds, int *count_out)
{
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(MAXIMUM * sizeof(int))];
  } control;
  struct iovec vector = {.iov_base = data, .iov_len = capacity};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  *count_out = 0;
  ssize_t length = recvmsg(sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (length < 0)
    return -errno;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
      continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      if (*count_out < capacity_fds)
        fds[(*count_out)++] = fd;
      else
        close(fd);
    }
  }
  return length;
}

int weft_peer_uid(int sock, uid_t *out)
{
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
    return -errno;
  *out = credentials.uid;
  return 0;
}

int weft_peer_process(int sock, int *pidfd_out, pid_t *pid_out)
{
  enum { PEER_PIDFD = 77 };
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
    return -errno;
  *pid_out = credentials.pid;
  length = sizeof *pidfd_out;
  if (getsockopt(sock, SOL_SOCKET, PEER_PIDFD, pidfd_out, &length) == 0)
    return 0;
  *pidfd_out = (int)syscall(SYS_pidfd_open, credentials.pid, 0);
  return *pidfd_out < 0 ? -errno : 0;
}
