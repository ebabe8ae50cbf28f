#include "bin/skiffd/default_credentials.h"

#include "bin/skiff/docker_config.h"

namespace skiff::daemon {
namespace {

using registry::Access;
using registry::Credentials;
using registry::CredentialSourcePtr;

constexpr auto kHelperTime = std::chrono::seconds(10);

class FileCredentials final : public registry::CredentialSource {
 public:
  FileCredentials(CredentialSourcePtr first, sys::Path file)
      : first_(std::move(first)), file_(std::move(file)) {}

  Result<std::optional<Credentials>> get(const std::string& host) override {
    if (first_)
      if (auto given = SKIFF_TRY(first_->get(host)); given && !given->empty()) return given;
    auto config = SKIFF_TRY(cli::DockerConfig::load(file_));
    auto found = SKIFF_TRY(config.find(Context().with_timeout(kHelperTime), host));
    if (!found) return std::nullopt;
    return Credentials{.username = std::move(found->username),
                       .password = std::move(found->password),
                       .identity_token = std::move(found->identity_token),
                       .registry_token = std::move(found->registry_token)};
  }

 private:
  CredentialSourcePtr first_;
  sys::Path file_;
};

class DefaultingResolver final : public registry::Resolver {
 public:
  DefaultingResolver(std::unique_ptr<Resolver> inner, sys::Path file)
      : inner_(std::move(inner)), file_(std::move(file)) {}

  Result<registry::Resolved> resolve(const Context& context, const oci::Reference& reference,
                                     const Access& access) override {
    return inner_->resolve(context, reference, completed(access));
  }
  Result<registry::FetcherPtr> fetcher(const Context& context, const oci::Reference& reference,
                                       const Access& access) override {
    return inner_->fetcher(context, reference, completed(access));
  }
  Result<std::unique_ptr<registry::Pusher>> pusher(const Context& context,
                                                   const oci::Reference& reference,
                                                   const Access& access) override {
    return inner_->pusher(context, reference, completed(access));
  }

 private:
  Access completed(Access access) const {
    access.credentials = with_file(std::move(access.credentials), file_);
    return access;
  }
  std::unique_ptr<Resolver> inner_;
  sys::Path file_;
};

}  // namespace

CredentialSourcePtr with_file(CredentialSourcePtr first, sys::Path file) {
  return std::make_shared<FileCredentials>(std::move(first), std::move(file));
}

std::unique_ptr<registry::Resolver> with_default_credentials(
    std::unique_ptr<registry::Resolver> resolver, sys::Path file) {
  return std::make_unique<DefaultingResolver>(std::move(resolver), std::move(file));
}

}  // namespace skiff::daemon
