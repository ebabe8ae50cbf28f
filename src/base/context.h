// Travels first with every operation: who asked, in which namespace and lease, until when, whether
// it is still wanted, and under which trace id its log lines and metrics stand.
//
// A Context is cheap to copy and never changes once an operation runs under it; children are made
// with the with_* functions. Thread-safe to read.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "base/error.h"

namespace skiff {

// Who is at the other end of the socket (SO_PEERCRED); all -1 for the daemon itself.
struct Peer {
  int pid = -1;
  int uid = -1;
  int gid = -1;
};

class Context {
 public:
  using Clock = std::chrono::steady_clock;

  // No deadline, never stopped, namespace "default".
  Context() = default;
  static Context background() { return {}; }

  // Namespaces keep names apart; content is shared below them. As in containerd.
  const std::string& name_space() const { return namespace_; }
  // Writes made under a lease are kept by it until it is deleted; empty for none.
  const std::string& lease() const { return lease_; }
  const std::string& trace_id() const { return trace_id_; }
  const Peer& peer() const { return peer_; }
  std::optional<Clock::time_point> deadline() const { return deadline_; }
  const std::stop_token& stop_token() const { return stop_; }

  Context with_namespace(std::string name) const;
  Context with_lease(std::string lease) const;
  Context with_trace_id(std::string id) const;
  Context with_peer(Peer peer) const;
  // The nearer of the two deadlines holds.
  Context with_deadline(Clock::time_point deadline) const;
  Context with_timeout(std::chrono::milliseconds timeout) const;
  // Replaces the stop token (the old one no longer counts; chain with a stop_callback where both
  // do).
  Context with_stop(std::stop_token stop) const;
  // The same caller, but neither its deadline nor its stop: for work that outlives the request.
  Context detached() const;

  bool stopped() const { return stop_.stop_requested(); }
  // Canceled or DeadlineExceeded when the operation should end, else ok. Cheap: call it in loops.
  Status check() const;

 private:
  std::string namespace_ = "default";
  std::string lease_;
  std::string trace_id_;
  Peer peer_;
  std::optional<Clock::time_point> deadline_;
  std::stop_token stop_;
};

}  // namespace skiff
