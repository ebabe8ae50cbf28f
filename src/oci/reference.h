// Image references in every form that users of Docker and containerd type.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"

namespace skiff::oci {

// A whole reference: registry, repository, and a tag, a digest, or both (then the digest decides
// what is fetched and the tag is kept as a name).
class Reference {
 public:
  // Normalises as Docker does: "redis" is docker.io/library/redis:latest, "user/app:1" is
  // docker.io/user/app:1; a first part with a dot, a colon or an upper-case letter, "localhost" or
  // an IPv6 address in brackets is a registry. "index.docker.io" becomes docker.io. Neither tag nor
  // digest means the tag "latest". InvalidArgument names the part that is wrong.
  // Grammar: distribution's reference specification; repository names up to 255 bytes, tags up to
  // 128.
  static Result<Reference> parse(std::string_view text);

  // "docker.io", "localhost:5000", "[::1]:5000"
  const std::string& registry() const { return registry_; }
  // "library/redis"
  const std::string& repository() const { return repository_; }
  const std::optional<std::string>& tag() const { return tag_; }
  const std::optional<Digest>& digest() const { return digest_; }

  // The canonical name under which images are stored: "docker.io/library/redis:7",
  // "docker.io/library/redis@sha256:..", "...:7@sha256:..".
  std::string str() const;
  // Short, as Docker's users see it: "redis:7".
  std::string familiar() const;
  // "docker.io/library/redis"
  std::string name() const { return registry_ + "/" + repository_; }
  // What the registry is asked for: the digest when there is one, else the tag.
  std::string object() const;
  Reference with_digest(Digest digest) const;
  Reference with_tag(std::string tag) const;

 private:
  Reference() = default;
  std::string registry_;
  std::string repository_;
  std::optional<std::string> tag_;
  std::optional<Digest> digest_;
};

}  // namespace skiff::oci
