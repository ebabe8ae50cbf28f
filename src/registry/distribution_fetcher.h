// The Fetcher over HTTP. Internal to registry/.
#pragma once

#include <atomic>
#include <map>
#include <set>
#include <utility>

#include "base/guarded.h"
#include "registry/session.h"

namespace skiff::registry {

class DistributionFetcher : public Fetcher {
 public:
  explicit DistributionFetcher(Session session) : session_(std::move(session)) {}

  Status fetch(const Context& context, const oci::Descriptor& descriptor, Range range,
               ByteSink& sink) override;
  bool supports_ranges() const override { return ranges_; }

 private:
  class RangeSink;

  Attempt fetch_from(const Context& context, const Host& host, const oci::Descriptor& descriptor,
                     RangeSink& sink);
  Status fetch_from_urls(const Context& context, const oci::Descriptor& descriptor,
                         RangeSink& sink);
  Attempt settle(const Context& context, RangeSink& sink, uint64_t before,
                 const Result<http::Response>& response);

  // The hosts in their order, but those with trouble last: a piece must not wait for a mirror that
  // the piece before has found dead or without the blob.
  Session::HostList order(const Digest& digest) const;
  void note_trouble(const Host& host, const Digest& digest, const Attempt& attempt);

  struct Trouble {
    std::map<const Host*, Context::Clock::time_point> down_until;
    std::set<std::pair<const Host*, Digest>> lacks;
  };

  const Session session_;
  std::atomic<bool> ranges_ = true;
  mutable Guarded<Trouble> trouble_;
};

}  // namespace skiff::registry
