#include "registry/memory_registry.h"

#include <algorithm>
#include <vector>

#include "codec/hash.h"

namespace skiff::registry {
namespace {

constexpr size_t kStep = 64 << 10;

struct Document {
  std::string bytes, media_type;
};

struct Break {
  uint64_t after;
  Error error;
  int times;
};

}  // namespace

struct MemoryRegistry::State {
  // Shared, so that a fetch needs no lock while it writes.
  std::map<Digest, std::shared_ptr<const std::string>> blobs;
  std::map<std::string, Document> documents;  // "repository@object"
  std::optional<Credentials> required;
  FetchHook hook;
  std::map<Digest, Break> breaks;
  std::map<Digest, int> fetches;
  std::map<Digest, uint64_t> bytes;
  int resolves = 0;
};

namespace {

using SharedState = std::shared_ptr<Guarded<MemoryRegistry::State>>;

Digest store_blob(MemoryRegistry::State& state, std::string bytes) {
  Digest digest = codec::digest_of(bytes);
  state.blobs[digest] = std::make_shared<const std::string>(std::move(bytes));
  return digest;
}

Digest store_manifest(MemoryRegistry::State& state, const std::string& repository,
                      const std::string& tag, std::string bytes, const std::string& media_type) {
  Digest digest = store_blob(state, bytes);
  if (!tag.empty()) state.documents[repository + "@" + tag] = {bytes, media_type};
  state.documents[repository + "@" + digest.str()] = {std::move(bytes), media_type};
  return digest;
}

// One repository, with one user's credentials.
class Repository {
 public:
  Repository(SharedState state, oci::Reference reference, Access access)
      : state_(std::move(state)), reference_(std::move(reference)), access_(std::move(access)) {}

  const std::string& name() const { return reference_.repository(); }
  Guarded<MemoryRegistry::State>& state() const { return *state_; }

  Status check(const Context& context) const {
    SKIFF_TRY(context.check());
    std::optional<Credentials> given;
    if (access_.credentials) given = SKIFF_TRY(access_.credentials->get(reference_.registry()));
    auto state = state_->lock();
    if (!state->required || given == state->required) return ok();
    return fail(Code::kUnauthenticated, "{}: not authorized", reference_.name());
  }

 private:
  SharedState state_;
  oci::Reference reference_;
  Access access_;
};

class MemoryFetcher : public Fetcher {
 public:
  explicit MemoryFetcher(Repository repository) : repository_(std::move(repository)) {}

  Status fetch(const Context& context, const oci::Descriptor& descriptor, Range range,
               ByteSink& sink) override {
    if (range.offset > descriptor.size || range.length > descriptor.size - range.offset)
      return fail(Code::kOutOfRange, "{}: bytes {}+{} of {}", descriptor.digest, range.offset,
                  range.length, descriptor.size);
    SKIFF_TRY(repository_.check(context));
    MemoryRegistry::FetchHook hook;
    {
      auto state = repository_.state().lock();
      ++state->fetches[descriptor.digest];
      hook = state->hook;
    }
    if (hook) SKIFF_TRY(hook(descriptor, range));
    auto [bytes, broken] = SKIFF_TRY(open(descriptor));
    uint64_t end = range.length ? range.offset + range.length : descriptor.size;
    uint64_t stop = broken ? std::min(end, range.offset + broken->after) : end;
    SKIFF_TRY(copy(context, descriptor.digest, std::string_view(*bytes), range.offset, stop, sink));
    if (broken) return std::unexpected(broken->error);
    return ok();
  }
  bool supports_ranges() const override { return true; }

 private:
  struct Opened {
    std::shared_ptr<const std::string> bytes;
    std::optional<Break> broken;
  };

  Result<Opened> open(const oci::Descriptor& descriptor) {
    auto state = repository_.state().lock();
    auto blob = state->blobs.find(descriptor.digest);
    if (blob == state->blobs.end())
      return fail(Code::kNotFound, "fetch {}: not found", descriptor.digest);
    if (blob->second->size() != descriptor.size)
      return fail(Code::kDataLoss, "fetch {}: {} bytes, {} by its descriptor", descriptor.digest,
                  blob->second->size(), descriptor.size);
    Opened opened{blob->second, {}};
    auto broken = state->breaks.find(descriptor.digest);
    if (broken != state->breaks.end() && broken->second.times-- > 0) opened.broken = broken->second;
    return opened;
  }

  Status copy(const Context& context, const Digest& digest, std::string_view bytes, uint64_t from,
              uint64_t to, ByteSink& sink) {
    while (from < to) {
      SKIFF_TRY(context.check());
      size_t n = std::min<uint64_t>(kStep, to - from);
      SKIFF_TRY(sink.write(as_bytes(bytes.substr(from, n))));
      from += n;
      repository_.state().lock()->bytes[digest] += n;
    }
    return ok();
  }

  const Repository repository_;
};

class MemoryPusher : public Pusher {
 public:
  explicit MemoryPusher(Repository repository) : repository_(std::move(repository)) {}

  Result<bool> has_blob(const Context& context, const Digest& digest) override {
    SKIFF_TRY(repository_.check(context));
    return repository_.state().lock()->blobs.contains(digest);
  }
  Result<bool> mount_blob(const Context& context, const Digest& digest,
                          const std::string&) override {
    return has_blob(context, digest);
  }
  Status put_blob(const Context& context, const oci::Descriptor& descriptor,
                  const OpenAt& open) override {
    SKIFF_TRY(repository_.check(context));
    auto source = SKIFF_TRY(open(0));
    std::string bytes = SKIFF_TRY(read_all(*source, descriptor.size));
    if (codec::digest_of(bytes) != descriptor.digest)
      return fail(Code::kInvalidArgument, "push {}: the bytes have another digest",
                  descriptor.digest);
    store_blob(*repository_.state().lock(), std::move(bytes));
    return ok();
  }
  Status put_manifest(const Context& context, const std::string& object,
                      const oci::Descriptor& descriptor, std::string_view body) override {
    SKIFF_TRY(repository_.check(context));
    if (codec::digest_of(body) != descriptor.digest)
      return fail(Code::kInvalidArgument, "push manifest {}: the bytes have another digest",
                  object);
    std::string tag = object == descriptor.digest.str() ? "" : object;
    store_manifest(*repository_.state().lock(), repository_.name(), tag, std::string(body),
                   descriptor.media_type);
    return ok();
  }

 private:
  const Repository repository_;
};

class MemoryResolver : public Resolver {
 public:
  explicit MemoryResolver(SharedState state) : state_(std::move(state)) {}

  Result<Resolved> resolve(const Context& context, const oci::Reference& reference,
                           const Access& access) override {
    Repository repository(state_, reference, access);
    SKIFF_TRY_WRAP(repository.check(context), "resolve {}", reference.str());
    auto state = state_->lock();
    ++state->resolves;
    auto found = state->documents.find(reference.repository() + "@" + reference.object());
    if (found == state->documents.end())
      return fail(Code::kNotFound, "resolve {}: not found", reference.str());
    Resolved resolved;
    resolved.descriptor.media_type = found->second.media_type;
    resolved.descriptor.digest = codec::digest_of(found->second.bytes);
    resolved.descriptor.size = found->second.bytes.size();
    resolved.host = reference.registry();
    resolved.fetcher = std::make_shared<MemoryFetcher>(std::move(repository));
    return resolved;
  }
  Result<FetcherPtr> fetcher(const Context&, const oci::Reference& reference,
                             const Access& access) override {
    return std::make_shared<MemoryFetcher>(Repository(state_, reference, access));
  }
  Result<std::unique_ptr<Pusher>> pusher(const Context&, const oci::Reference& reference,
                                         const Access& access) override {
    return std::make_unique<MemoryPusher>(Repository(state_, reference, access));
  }

 private:
  SharedState state_;
};

}  // namespace

MemoryRegistry::MemoryRegistry() : state_(std::make_shared<Guarded<State>>()) {}

Digest MemoryRegistry::add_blob(std::string bytes) {
  return store_blob(*state_->lock(), std::move(bytes));
}

Digest MemoryRegistry::add_manifest(const std::string& repository, const std::string& tag,
                                    std::string bytes, const std::string& media_type) {
  return store_manifest(*state_->lock(), repository, tag, std::move(bytes), media_type);
}

void MemoryRegistry::require(Credentials credentials) {
  state_->lock()->required = std::move(credentials);
}

void MemoryRegistry::on_fetch(FetchHook hook) { state_->lock()->hook = std::move(hook); }

void MemoryRegistry::break_fetch(const Digest& digest, uint64_t after, Error error, int times) {
  state_->lock()->breaks.insert_or_assign(digest, Break{after, std::move(error), times});
}

int MemoryRegistry::fetches(const Digest& digest) const { return state_->lock()->fetches[digest]; }

uint64_t MemoryRegistry::bytes_fetched(const Digest& digest) const {
  return state_->lock()->bytes[digest];
}

int MemoryRegistry::resolves() const { return state_->lock()->resolves; }

std::unique_ptr<Resolver> MemoryRegistry::resolver() {
  return std::make_unique<MemoryResolver>(state_);
}

}  // namespace skiff::registry
