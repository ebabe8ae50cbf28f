#include "image/internal.h"

#include "base/log.h"
#include "base/random_id.h"

namespace skiff::image {
namespace {

const CrashPoint kHoldLease{"image.lease.hold"};
const CrashPoint kDropLease{"image.lease.drop"};

// Long enough for any pull; an orphan of a crash is garbage after it.
constexpr auto kOrphanLife = std::chrono::hours(24);

std::string rfc3339_in(std::chrono::seconds from_now) {
  std::time_t at = std::time(nullptr) + from_now.count();
  std::tm utc{};
  gmtime_r(&at, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace

HeldLease::HeldLease(metadata::Store& store, const Context& context)
    : store_(store), context_(context.detached().with_lease("skiff-" + random_id(8))) {
  metadata::Lease lease{.id = id(),
                        .labels = {{"containerd.io/gc.expire", rfc3339_in(kOrphanLife)}},
                        .created = metadata::now()};
  status_ = store_.write(context, kHoldLease, metadata::Durability::kRides,
                         [&](metadata::Transaction& txn) -> Status {
                           SKIFF_TRY(metadata::namespaces::ensure(txn, context_.name_space()));
                           return metadata::leases::create(txn, context_.name_space(), lease);
                         });
}

HeldLease::~HeldLease() {
  if (!status_) return;
  Status dropped = store_.write(context_, kDropLease, metadata::Durability::kRides,
                                [&](metadata::Transaction& txn) {
                                  return metadata::leases::remove(txn, context_.name_space(), id());
                                });
  if (!dropped && !dropped.error().is(Code::kNotFound))
    log::warning("a lease could not be dropped and will expire",
                 {{"lease", id()}, {"error", dropped.error()}});
}

bool worth_another_offer(const Error& error) {
  switch (error.code()) {
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
    case Code::kNotFound:
    case Code::kDeadlineExceeded:
    case Code::kUnavailable: return true;
    default: return false;
  }
}

}  // namespace skiff::image
