#include "base/context.h"

#include <algorithm>

namespace skiff {

Context Context::with_namespace(std::string name) const {
  Context child = *this;
  child.namespace_ = std::move(name);
  return child;
}

Context Context::with_lease(std::string lease) const {
  Context child = *this;
  child.lease_ = std::move(lease);
  return child;
}

Context Context::with_trace_id(std::string id) const {
  Context child = *this;
  child.trace_id_ = std::move(id);
  return child;
}

Context Context::with_peer(Peer peer) const {
  Context child = *this;
  child.peer_ = peer;
  return child;
}

Context Context::with_deadline(Clock::time_point deadline) const {
  Context child = *this;
  child.deadline_ = deadline_ ? std::min(*deadline_, deadline) : deadline;
  return child;
}

Context Context::with_timeout(std::chrono::milliseconds timeout) const {
  return with_deadline(Clock::now() + timeout);
}

Context Context::with_stop(std::stop_token stop) const {
  Context child = *this;
  child.stop_ = std::move(stop);
  return child;
}

Context Context::detached() const {
  Context child = *this;
  child.deadline_.reset();
  child.stop_ = {};
  return child;
}

Status Context::check() const {
  if (stop_.stop_requested()) return fail(Code::kCanceled, "the operation was canceled");
  if (deadline_ && Clock::now() >= *deadline_)
    return fail(Code::kDeadlineExceeded, "the operation's deadline passed");
  return ok();
}

}  // namespace skiff
