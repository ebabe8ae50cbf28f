#include "sys/socket.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace skiff::sys {
namespace {

constexpr int kSocketFlags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

// An address for a path of any length: a long one goes through its directory's descriptor.
struct Address {
  sockaddr_un name{};
  UniqueFd directory;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

Result<Address> address_of(const std::string& path) {
  Address address;
  address.name.sun_family = AF_UNIX;
  std::string text = path;
  if (text.size() >= sizeof address.name.sun_path) {
    size_t slash = path.rfind('/');
    std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    address.directory.reset(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!address.directory) return fail_errno(errno, "socket directory {}", parent);
    text = fmt::format("/proc/self/fd/{}/{}", address.directory.get(), path.substr(slash + 1));
  }
  if (text.empty() || text.size() >= sizeof address.name.sun_path)
    return fail(Code::kInvalidArgument, "socket path {:?}: its last part is empty or too long",
                path);
  std::memcpy(address.name.sun_path, text.data(), text.size());
  return address;
}

Status remove_stale(const std::string& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? ok() : Status(fail_errno(errno, "socket {}", path));
  }
  if (!S_ISSOCK(info.st_mode))
    return fail(Code::kFailedPrecondition, "{} exists and is not a socket: remove it", path);
  if (auto live = connect_unix(path); live || live.error().sys_errno() == EAGAIN)
    return fail(Code::kFailedPrecondition, "socket {} is in use by another process", path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, "remove stale socket {}", path);
  return ok();
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path, unsigned mode, int backlog) {
  SKIFF_TRY(remove_stale(path));
  Address address = SKIFF_TRY(address_of(path));
  UniqueFd socket(::socket(AF_UNIX, kSocketFlags, 0));
  if (!socket) return fail_errno(errno, "make a socket for {}", path);
  // The mode must be right from the first moment, so it is set before the name appears.
  if (::fchmod(socket.get(), mode) != 0)
    return fail_errno(errno, "set the mode of socket {}", path);
  if (::bind(socket.get(), address.get(), sizeof address.name) != 0)
    return fail_errno(errno, "bind socket {}", path);
  // bind applies the umask; nobody can connect before listen.
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(errno, "set the mode of socket {}", path);
  if (::listen(socket.get(), backlog) != 0) return fail_errno(errno, "listen on {}", path);
  return socket;
}

Result<UniqueFd> connect_unix(const std::string& path) {
  Address address = SKIFF_TRY(address_of(path));
  UniqueFd socket(::socket(AF_UNIX, kSocketFlags, 0));
  if (!socket) return fail_errno(errno, "make a socket for {}", path);
  if (::connect(socket.get(), address.get(), sizeof address.name) != 0)
    return fail_errno(errno, "connect to {}", path);
  return socket;
}

Result<std::optional<UniqueFd>> accept_unix(int listener) {
  while (true) {
    UniqueFd client(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (client) return client;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return std::nullopt;
    return fail_errno(errno, "accept a connection");
  }
}

Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail_errno(errno, "read a peer's credentials");
  return Peer{credentials.pid, static_cast<int>(credentials.uid),
              static_cast<int>(credentials.gid)};
}

Result<std::optional<size_t>> send_some(int socket, Bytes bytes, std::span<const UniqueFd> fds) {
  if (fds.size() > kMaxPassedFds)
    return fail(Code::kInvalidArgument, "{} descriptors in one message; {} can go", fds.size(),
                kMaxPassedFds);
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassedFds * sizeof(int))];
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    for (size_t i = 0; i < fds.size(); ++i) {
      int fd = fds[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  while (true) {
    ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return static_cast<size_t>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return std::nullopt;
    return fail_errno(errno, "send on a socket");
  }
}

Result<std::optional<size_t>> receive_some(int socket, MutableBytes buffer,
                                           std::vector<UniqueFd>& fds) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassedFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return std::nullopt;
  if (got < 0) return fail_errno(errno, "receive from a socket");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return static_cast<size_t>(got);
}

Result<SocketPair> socket_pair(bool non_blocking) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (non_blocking ? SOCK_NONBLOCK : 0), 0,
                   fds) != 0)
    return fail_errno(errno, "make a socket pair");
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

}  // namespace skiff::sys
