// What the flights of the image folder share: the parts they work with, and the hidden namespace
// under which a flight's blobs and layers stand until its callers have taken them over.
#pragma once

#include <memory>
#include <string>

#include "image/image_service.h"
#include "image/slots.h"

namespace skiff::image {

inline constexpr char kFlightNamespace[] = "skiff.flights";

// A lease, held from construction to destruction. The rows it stands for ride: after a crash the
// lease is gone or is an orphan that expires.
class HeldLease {
 public:
  // In the context's namespace. Check ok() once: a lease that could not be made holds nothing.
  HeldLease(metadata::Store& store, const Context& context);
  ~HeldLease();
  HeldLease(const HeldLease&) = delete;

  const Status& status() const { return status_; }
  // The context that puts what it writes under this lease.
  const Context& context() const { return context_; }
  const std::string& id() const { return context_.lease(); }

 private:
  metadata::Store& store_;
  Context context_;
  Status status_;
};

// A context's namespace and lease, under another context's stop and deadline.
inline Context under(const Context& running, const HeldLease& lease) {
  return running.with_namespace(lease.context().name_space()).with_lease(lease.id());
}

// True when another caller's way to the same bytes may still work: refused, missing there, timed
// out or unreachable. Not for damage, a full disk or a cancel.
bool worth_another_offer(const Error& error);

}  // namespace skiff::image
