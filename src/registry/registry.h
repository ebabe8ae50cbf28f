// The seams to registries: Resolver, Fetcher, Pusher. The image folder works against these; the OCI
// distribution protocol stands behind them in distribution_*.cc, an in-memory fake beside it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/stream.h"
#include "oci/descriptor.h"
#include "oci/reference.h"
#include "registry/credentials.h"

namespace skiff::registry {

// Where a request of a user's goes and with what.
struct Access {
  CredentialSourcePtr credentials;  // null: anonymous
  bool plain_http = false;          // http without asking, for any host
  bool skip_verify = false;         // TLS certificates are not checked
};

// Bytes of a blob: [offset, offset + length); length 0 means to the end.
struct Range {
  uint64_t offset = 0;
  uint64_t length = 0;
};

// Fetches a descriptor's bytes from the hosts of one repository, with one user's credentials.
// Thread-safe; concurrent calls use connections of their own.
class Fetcher {
 public:
  virtual ~Fetcher() = default;
  // Writes exactly the range's bytes to the sink, in order: a reset, a time-out or a 5xx is resumed
  // where it stood, mirrors are tried in their order, 429 and 5xx wait as Retry-After says
  // (bounded). Never more than the descriptor's size. The digest is NOT checked here. Errors:
  // NotFound (404), PermissionDenied (403), Unauthenticated (401 after a fresh token),
  // DeadlineExceeded (no progress), Unavailable (the rest), DataLoss (wrong range or length), or
  // the sink's own error unchanged; each host's reason is in the message.
  virtual Status fetch(const Context& context, const oci::Descriptor& descriptor, Range range,
                       ByteSink& sink) = 0;
  // True when the host is known to answer ranges (or nothing is known yet).
  virtual bool supports_ranges() const = 0;
};
using FetcherPtr = std::shared_ptr<Fetcher>;

struct Resolved {
  oci::Descriptor descriptor;
  // The document itself when the resolver had to read it anyway (else empty): digest verified.
  std::string body;
  // The host that answered, for the layer's recorded source.
  std::string host;
  FetcherPtr fetcher;
};

// Uploads to one repository with one user's credentials. Thread-safe.
class Pusher {
 public:
  virtual ~Pusher() = default;
  // True when the repository has the blob already.
  virtual Result<bool> has_blob(const Context& context, const Digest& digest) = 0;
  // Asks the registry to take the blob from another of its repositories; false when it would not.
  virtual Result<bool> mount_blob(const Context& context, const Digest& digest,
                                  const std::string& from_repository) = 0;
  // `open` gives the blob's bytes from an offset (called again to resume).
  using OpenAt = std::function<Result<std::unique_ptr<ByteSource>>(uint64_t offset)>;
  virtual Status put_blob(const Context& context, const oci::Descriptor& descriptor,
                          const OpenAt& open) = 0;
  // `object` is a tag or a digest.
  virtual Status put_manifest(const Context& context, const std::string& object,
                              const oci::Descriptor& descriptor, std::string_view body) = 0;
};

// Turns references into descriptors. Thread-safe.
class Resolver {
 public:
  virtual ~Resolver() = default;
  // Tries the mirrors, then the registry itself. Bodies over 4 MiB, wrong digests and wrong media
  // types are refused. NotFound, PermissionDenied and Unauthenticated as the last host said.
  virtual Result<Resolved> resolve(const Context& context, const oci::Reference& reference,
                                   const Access& access) = 0;
  // A fetcher without resolving, for a source that was recorded earlier.
  virtual Result<FetcherPtr> fetcher(const Context& context, const oci::Reference& reference,
                                     const Access& access) = 0;
  virtual Result<std::unique_ptr<Pusher>> pusher(const Context& context,
                                                 const oci::Reference& reference,
                                                 const Access& access) = 0;
};

}  // namespace skiff::registry
