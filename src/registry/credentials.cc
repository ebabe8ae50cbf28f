#include "registry/credentials.h"

namespace skiff::registry {
namespace {

class FixedCredentials : public CredentialSource {
 public:
  FixedCredentials(std::string host, Credentials credentials)
      : host_(std::move(host)), credentials_(std::move(credentials)) {}

  Result<std::optional<Credentials>> get(const std::string& host) override {
    if (!host_.empty() && host_ != host) return std::nullopt;
    return credentials_;
  }

 private:
  const std::string host_;
  const Credentials credentials_;
};

}  // namespace

CredentialSourcePtr fixed_credentials(std::string host, Credentials credentials) {
  return std::make_shared<FixedCredentials>(std::move(host), std::move(credentials));
}

}  // namespace skiff::registry
