#include "image/push.h"

#include <atomic>
#include <set>
#include <thread>

#include "base/log.h"
#include "image/documents.h"

namespace skiff::image {
namespace {

constexpr size_t kUploads = 4;
constexpr int kMaxIndexDepth = 4;

// Counts what passes, for progress.
class CountingSource : public ByteSource {
 public:
  CountingSource(std::unique_ptr<ByteSource> source, uint64_t offset,
                 std::function<void(uint64_t)> tell)
      : source_(std::move(source)), offset_(offset), tell_(std::move(tell)) {}
  Result<size_t> read(MutableBytes buffer) override {
    size_t n = SKIFF_TRY(source_->read(buffer));
    tell_(offset_ += n);
    return n;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  uint64_t offset_;
  std::function<void(uint64_t)> tell_;
};

}  // namespace

Push::Push(const ImageService::Parts& parts, Library& library, const Context& context,
           const oci::Reference& target, const PushOptions& options, const ProgressFn& progress)
    : parts_(parts),
      library_(library),
      context_(context),
      target_(target),
      options_(options),
      progress_(progress) {}

Status Push::run(const Image& image) {
  auto descriptor = SKIFF_TRY(Library::target_of(image));
  pusher_ = SKIFF_TRY(parts_.resolver.pusher(context_, target_, options_.access));
  if (oci::is_index(descriptor.media_type) && options_.all_platforms)
    return push_index(descriptor, target_.object(), 1);
  auto chosen = SKIFF_TRY(library_.manifest(context_, descriptor, options_.platform));
  return push_manifest(chosen.descriptor, target_.object());
}

Status Push::push_index(const oci::Descriptor& descriptor, const std::string& object, int depth) {
  if (depth > kMaxIndexDepth)
    return fail(Code::kInvalidArgument, "index {} is nested too deeply", descriptor.digest);
  const std::string text = SKIFF_TRY(read_document(context_, parts_.content, descriptor));
  auto index = SKIFF_TRY(oci::Index::parse(text, descriptor.media_type));
  for (const oci::Descriptor& child : index.manifests) {
    if (oci::is_index(child.media_type)) {
      SKIFF_TRY(push_index(child, child.digest.str(), depth + 1));
    } else {
      SKIFF_TRY_WRAP(push_manifest(child, child.digest.str()), "platform {}",
                     child.platform ? child.platform->str() : child.digest.str());
    }
  }
  return pusher_->put_manifest(context_, object, descriptor, text);
}

Status Push::push_manifest(const oci::Descriptor& descriptor, const std::string& object) {
  const std::string text = SKIFF_TRY(read_document(context_, parts_.content, descriptor));
  auto manifest = SKIFF_TRY(oci::Manifest::parse(text, descriptor.media_type));
  std::vector<oci::Descriptor> blobs;
  std::set<Digest> listed;
  for (const oci::Descriptor& layer : manifest.layers)
    if (!oci::is_non_distributable(layer.media_type) && listed.insert(layer.digest).second)
      blobs.push_back(layer);
  if (listed.insert(manifest.config.digest).second) blobs.push_back(manifest.config);
  SKIFF_TRY(push_blobs(blobs));
  return pusher_->put_manifest(context_, object, descriptor, text);
}

Status Push::push_blobs(const std::vector<oci::Descriptor>& blobs) {
  size_t base = 0;
  {
    auto shown = shown_.lock();
    base = shown->size();
    for (const auto& blob : blobs)
      shown->push_back({.digest = blob.digest.str(), .total = blob.size});
  }
  std::atomic<size_t> next{0};
  Guarded<std::optional<Error>> failed;
  {
    std::vector<std::jthread> workers;
    for (size_t i = 0; i < std::min(kUploads, blobs.size()); ++i)
      workers.emplace_back([&] {
        for (size_t n = next++; n < blobs.size(); n = next++) {
          if (failed.lock()->has_value()) return;
          if (Status pushed = push_blob(blobs[n], base + n); !pushed) {
            auto first = failed.lock();
            if (!*first) *first = pushed.error();
          }
        }
      });
  }
  if (auto error = failed.lock(); *error) return std::unexpected(**error);
  return ok();
}

Status Push::push_blob(const oci::Descriptor& blob, size_t shown) {
  if (SKIFF_TRY(pusher_->has_blob(context_, blob.digest))) {
    show(shown, LayerState::kPresent, blob.size);
    return ok();
  }
  for (const std::string& repository : SKIFF_TRY(sources_of(blob.digest))) {
    if (repository == target_.repository()) continue;
    // A registry may refuse a mount for any reason; then the bytes are sent.
    if (auto mounted = pusher_->mount_blob(context_, blob.digest, repository);
        mounted && *mounted) {
      show(shown, LayerState::kPresent, blob.size);
      return ok();
    }
  }
  auto reader =
      SKIFF_TRY_WRAP(parts_.content.open(context_, blob.digest),
                     "blob {} is not here: pull the image with --no-unpack first", blob.digest);
  auto open_at = [&](uint64_t offset) -> Result<std::unique_ptr<ByteSource>> {
    return std::make_unique<CountingSource>(
        content::source(reader, offset), offset,
        [this, shown](uint64_t at) { show(shown, LayerState::kPushing, at); });
  };
  SKIFF_TRY(pusher_->put_blob(context_, blob, open_at));
  show(shown, LayerState::kDone, blob.size);
  return ok();
}

Result<std::vector<std::string>> Push::sources_of(const Digest& digest) {
  auto info = parts_.content.info(context_, digest);
  if (!info) return std::vector<std::string>();
  std::vector<std::string> repositories;
  const auto label = info->labels.find("containerd.io/distribution.source." + target_.registry());
  if (label == info->labels.end()) return repositories;
  for (size_t begin = 0; begin <= label->second.size();) {
    const size_t end = std::min(label->second.find(',', begin), label->second.size());
    if (end > begin) repositories.push_back(label->second.substr(begin, end - begin));
    begin = end + 1;
  }
  return repositories;
}

void Push::show(size_t index, LayerState state, uint64_t offset) {
  auto shown = shown_.lock();
  (*shown)[index].state = state;
  (*shown)[index].offset = offset;
  if (!progress_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool passing = state == LayerState::kPushing;
  if (passing && now - last_report_ < std::chrono::milliseconds(100)) return;
  last_report_ = now;
  // Under the lock, so that calls come one at a time.
  progress_({.phase = "pushing", .layers = *shown});
}

}  // namespace skiff::image
