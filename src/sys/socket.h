// Unix stream sockets: listen, connect, peer credentials, and file descriptors passed along.
// Every descriptor made here is close-on-exec.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/error.h"
#include "base/stream.h"
#include "sys/fd.h"

namespace skiff::sys {

// At most this many descriptors travel with one message; more is InvalidArgument.
inline constexpr size_t kMaxPassedFds = 16;

// A non-blocking listening socket bound to `path` with `mode`. A socket left there by a dead
// process is replaced; FailedPrecondition when a live one answers. Paths longer than a socket
// address holds (107 bytes) work too.
Result<UniqueFd> listen_unix(const std::string& path, unsigned mode, int backlog = 128);

// A connected, non-blocking socket. NotFound, Unavailable when nobody listens.
Result<UniqueFd> connect_unix(const std::string& path);

// A connected, non-blocking client; empty when none is waiting.
Result<std::optional<UniqueFd>> accept_unix(int listener);

// Who connected (SO_PEERCRED).
Result<Peer> peer_of(int socket);

// Sends what fits of `bytes`, the descriptors with the first byte; empty when the socket is full
// (then neither bytes nor descriptors went). Unavailable when the peer is gone. No SIGPIPE.
Result<std::optional<size_t>> send_some(int socket, Bytes bytes,
                                        std::span<const UniqueFd> fds = {});

// Receives what is there, descriptors appended to `fds`; empty when nothing is, 0 at the end.
Result<std::optional<size_t>> receive_some(int socket, MutableBytes buffer,
                                           std::vector<UniqueFd>& fds);

// Two connected sockets, blocking unless asked otherwise.
struct SocketPair {
  UniqueFd first, second;
};
Result<SocketPair> socket_pair(bool non_blocking = false);

}  // namespace skiff::sys
