// The Pusher over HTTP. Internal to registry/.
#pragma once

#include "registry/session.h"

namespace skiff::registry {

// Pushes go to the first host that may take them: mirrors seldom do.
class DistributionPusher : public Pusher {
 public:
  explicit DistributionPusher(Session session) : session_(std::move(session)) {}

  Result<bool> has_blob(const Context& context, const Digest& digest) override;
  Result<bool> mount_blob(const Context& context, const Digest& digest,
                          const std::string& from_repository) override;
  Status put_blob(const Context& context, const oci::Descriptor& descriptor,
                  const OpenAt& open) override;
  Status put_manifest(const Context& context, const std::string& object,
                      const oci::Descriptor& descriptor, std::string_view body) override;

 private:
  struct Upload;

  Status over_host(const Context& context, const Session& session, const Session::Try& attempt,
                   const std::string& what);
  Attempt start(const Context& context, const Host& host, Upload& upload);
  Attempt send_whole(const Context& context, const Host& host, const oci::Descriptor& descriptor,
                     const OpenAt& open, Upload& upload);
  Attempt send_rest(const Context& context, const Host& host, const oci::Descriptor& descriptor,
                    const OpenAt& open, Upload& upload);
  void cancel(const Context& context, const Session& session, const Host& host,
              const std::string& location);

  const Session session_;
};

}  // namespace skiff::registry
