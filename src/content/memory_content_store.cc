#include "content/memory_content_store.h"

#include <algorithm>
#include <cstring>

#include "codec/hash.h"
#include "content/verify.h"
#include "metadata/filter.h"

namespace skiff::content {
namespace {

using Name = std::pair<std::string, std::string>;  // namespace, ref or digest

struct Draft {
  IngestStatus status;
  std::string bytes;  // may reach past status.offset
  bool held = false;
  bool over = false;  // committed or found bad
};

struct Tables {
  MemoryContentStore::Fault fault;
  std::map<Digest, std::shared_ptr<std::string>> bytes;
  std::map<Name, BlobInfo> names;
  std::map<Name, std::shared_ptr<Draft>> drafts;
};

}  // namespace

struct MemoryContentStore::State {
  Guarded<Tables> tables;

  Status check(const Context& context, std::string_view operation) {
    SKIFF_TRY(context.check());
    Fault fault = tables.lock()->fault;
    return fault ? fault(operation) : ok();
  }
};

namespace {

using State = MemoryContentStore::State;

class MemoryReader final : public BlobReader {
 public:
  explicit MemoryReader(std::shared_ptr<const std::string> bytes) : bytes_(std::move(bytes)) {}
  uint64_t size() const override { return bytes_->size(); }
  Result<size_t> read_at(MutableBytes buffer, uint64_t offset) override {
    if (offset >= bytes_->size()) return 0;
    size_t n = std::min<size_t>(buffer.size(), bytes_->size() - offset);
    std::memcpy(buffer.data(), bytes_->data() + offset, n);
    return n;
  }

 private:
  std::shared_ptr<const std::string> bytes_;
};

class MemoryIngest final : public Ingest {
 public:
  MemoryIngest(std::shared_ptr<State> state, Name name, std::shared_ptr<Draft> draft)
      : state_(std::move(state)), name_(std::move(name)), draft_(std::move(draft)) {}
  ~MemoryIngest() override {
    auto tables = state_->tables.lock();
    draft_->held = false;
  }

  uint64_t offset() const override {
    auto tables = state_->tables.lock();
    return draft_->status.offset;
  }

  Status write(Bytes bytes) override {
    uint64_t at = offset();
    SKIFF_TRY(write_at(bytes, at));
    return advance(at + bytes.size());
  }

  Status write_at(Bytes bytes, uint64_t offset) override {
    SKIFF_TRY(state_->check(Context(), "write"));
    auto tables = state_->tables.lock();
    SKIFF_TRY(check_open());
    if (draft_->bytes.size() < offset + bytes.size()) draft_->bytes.resize(offset + bytes.size());
    std::memcpy(draft_->bytes.data() + offset, bytes.data(), bytes.size());
    return ok();
  }

  Status advance(uint64_t offset) override {
    auto tables = state_->tables.lock();
    if (offset < draft_->status.offset || offset > draft_->bytes.size())
      return fail(Code::kInvalidArgument, "ingest {}: cannot advance to {}", name_.second, offset);
    draft_->status.offset = offset;
    draft_->status.updated = metadata::now();
    return ok();
  }

  Status truncate(uint64_t offset) override {
    auto tables = state_->tables.lock();
    if (offset > draft_->status.offset)
      return fail(Code::kInvalidArgument, "ingest {}: truncate to {} past its end", name_.second,
                  offset);
    draft_->bytes.resize(offset);
    draft_->status.offset = offset;
    return ok();
  }

  Result<size_t> read_at(MutableBytes buffer, uint64_t offset) override {
    auto tables = state_->tables.lock();
    if (offset >= draft_->bytes.size()) return 0;
    size_t n = std::min<size_t>(buffer.size(), draft_->bytes.size() - offset);
    std::memcpy(buffer.data(), draft_->bytes.data() + offset, n);
    return n;
  }

  Result<Digest> commit(const Context& context, const Expected& expected,
                        const CommitOptions& options) override {
    SKIFF_TRY(state_->check(context, "commit"));
    auto tables = state_->tables.lock();
    SKIFF_TRY(check_open());
    IngestStatus& status = draft_->status;
    Expected both = SKIFF_TRY(merge({status.expected, status.total}, expected));
    auto digest = draft_->bytes.size() == status.offset
                      ? verify(name_.second, status.offset, both, options.computed,
                               [&](DigestAlgorithm algorithm) -> Result<Digest> {
                                 return codec::digest_of(as_bytes(draft_->bytes), algorithm);
                               })
                      : fail(Code::kDataLoss, "{}: bytes past the prefix", name_.second);
    tables->drafts.erase(name_);
    draft_->over = true;
    if (!digest) return digest;

    auto& bytes = tables->bytes[*digest];
    if (!bytes) bytes = std::make_shared<std::string>(draft_->bytes);
    BlobInfo& info = tables->names[{name_.first, digest->str()}];
    if (info.created == 0) info.created = metadata::now();
    info.digest = *digest;
    info.size = bytes->size();
    info.updated = metadata::now();
    for (const auto& [key, value] : options.labels) info.labels[key] = value;
    return digest;
  }

 private:
  Status check_open() const {
    if (!draft_->over) return ok();
    return fail(Code::kFailedPrecondition, "ingest {} is over", name_.second);
  }

  std::shared_ptr<State> state_;
  Name name_;
  std::shared_ptr<Draft> draft_;
};

Error no_blob(const Context& context, const Digest& digest) {
  return Error(Code::kNotFound,
               fmt::format("namespace {} has no blob {}", context.name_space(), digest));
}

}  // namespace

MemoryContentStore::MemoryContentStore() : state_(std::make_shared<State>()) {}
MemoryContentStore::~MemoryContentStore() = default;

void MemoryContentStore::set_fault(Fault fault) { state_->tables.lock()->fault = std::move(fault); }

Status MemoryContentStore::damage(const Digest& digest, size_t offset) {
  auto tables = state_->tables.lock();
  auto found = tables->bytes.find(digest);
  if (found == tables->bytes.end() || offset >= found->second->size())
    return fail(Code::kNotFound, "no byte {} of {}", offset, digest);
  found->second->at(offset) ^= 1;
  return ok();
}

Result<BlobInfo> MemoryContentStore::info(const Context& context, const Digest& digest) {
  SKIFF_TRY(state_->check(context, "info"));
  auto tables = state_->tables.lock();
  auto found = tables->names.find({context.name_space(), digest.str()});
  if (found == tables->names.end()) return std::unexpected(no_blob(context, digest));
  return found->second;
}

Result<std::shared_ptr<BlobReader>> MemoryContentStore::open(const Context& context,
                                                             const Digest& digest) {
  SKIFF_TRY(state_->check(context, "open"));
  SKIFF_TRY(info(context, digest));
  return std::make_shared<MemoryReader>(state_->tables.lock()->bytes[digest]);
}

Result<std::unique_ptr<Ingest>> MemoryContentStore::ingest(const Context& context,
                                                           const std::string& ref,
                                                           const Expected& expected) {
  SKIFF_TRY(state_->check(context, "ingest"));
  if (ref.empty()) return fail(Code::kInvalidArgument, "an ingest needs a ref");
  auto tables = state_->tables.lock();
  Name name{context.name_space(), ref};
  if (!expected.digest.empty() && tables->names.contains({name.first, expected.digest.str()}))
    return fail(Code::kAlreadyExists, "blob {} is there", expected.digest);
  auto& draft = tables->drafts[name];
  if (!draft) {
    draft = std::make_shared<Draft>();
    draft->status = {.ref = ref,
                     .total = expected.size,
                     .expected = expected.digest,
                     .started = metadata::now(),
                     .updated = metadata::now()};
  }
  if (draft->held) return fail(Code::kUnavailable, "ingest {} has another writer now", ref);
  Expected both = SKIFF_TRY(merge({draft->status.expected, draft->status.total}, expected));
  draft->status.expected = both.digest;
  draft->status.total = both.size;
  draft->bytes.resize(draft->status.offset);
  draft->held = true;
  return std::make_unique<MemoryIngest>(state_, std::move(name), draft);
}

Result<std::vector<IngestStatus>> MemoryContentStore::ingests(const Context& context) {
  SKIFF_TRY(state_->check(context, "ingests"));
  std::vector<IngestStatus> all;
  auto tables = state_->tables.lock();
  for (const auto& [name, draft] : tables->drafts)
    if (name.first == context.name_space()) all.push_back(draft->status);
  return all;
}

Status MemoryContentStore::abort(const Context& context, const std::string& ref) {
  SKIFF_TRY(state_->check(context, "abort"));
  auto tables = state_->tables.lock();
  auto found = tables->drafts.find({context.name_space(), ref});
  if (found == tables->drafts.end()) return fail(Code::kNotFound, "no ingest {}", ref);
  if (found->second->held)
    return fail(Code::kUnavailable, "ingest {} is being written; end its writer first", ref);
  tables->drafts.erase(found);
  return ok();
}

Result<BlobInfo> MemoryContentStore::update(const Context& context, const Digest& digest,
                                            const Labels& labels, const FieldPaths& paths) {
  SKIFF_TRY(state_->check(context, "update"));
  BlobInfo info = SKIFF_TRY(this->info(context, digest));
  info.labels = SKIFF_TRY(metadata::updated_labels(info.labels, labels, paths));
  info.updated = metadata::now();
  state_->tables.lock()->names[{context.name_space(), digest.str()}] = info;
  return info;
}

Status MemoryContentStore::walk(const Context& context, const std::vector<std::string>& filters,
                                const std::function<Status(const BlobInfo&)>& visit) {
  SKIFF_TRY(state_->check(context, "walk"));
  auto filter = SKIFF_TRY(metadata::Filter::compile(filters));
  std::vector<BlobInfo> all;
  {
    auto tables = state_->tables.lock();
    for (const auto& [name, info] : tables->names)
      if (name.first == context.name_space()) all.push_back(info);
  }
  for (const BlobInfo& info : all) {
    auto lookup =
        [&](const std::vector<std::string_view>& path) -> std::optional<std::string_view> {
      if (path.size() == 1 && path[0] == "digest") return info.digest.str();
      if (path.size() != 2 || path[0] != "labels") return std::nullopt;
      auto found = info.labels.find(std::string(path[1]));
      if (found == info.labels.end()) return std::nullopt;
      return found->second;
    };
    if (filter.match(lookup)) SKIFF_TRY(visit(info));
  }
  return ok();
}

Status MemoryContentStore::remove(const Context& context, const Digest& digest) {
  SKIFF_TRY(state_->check(context, "remove"));
  auto tables = state_->tables.lock();
  if (tables->names.erase({context.name_space(), digest.str()}) == 0)
    return std::unexpected(no_blob(context, digest));
  bool named = std::ranges::any_of(
      tables->names, [&](const auto& row) { return row.first.second == digest.str(); });
  if (!named) tables->bytes.erase(digest);
  return ok();
}

Result<BlobInfo> MemoryContentStore::share(const Context& context, const Digest& digest,
                                           const Labels& labels) {
  SKIFF_TRY(state_->check(context, "share"));
  auto tables = state_->tables.lock();
  auto bytes = tables->bytes.find(digest);
  if (bytes == tables->bytes.end())
    return fail(Code::kNotFound, "no namespace has blob {}", digest);
  BlobInfo& info = tables->names[{context.name_space(), digest.str()}];
  if (info.created == 0) info.created = metadata::now();
  info.digest = digest;
  info.size = bytes->second->size();
  info.updated = metadata::now();
  for (const auto& [key, value] : labels) info.labels[key] = value;
  return info;
}

}  // namespace skiff::content
