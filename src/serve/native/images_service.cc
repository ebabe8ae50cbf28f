#include "image/image_service.h"
#include "serve/native/api.h"
#include "serve/native/convert.h"
#include "serve/native/services.h"
#include "sys/file.h"

namespace skiff::native {
namespace {

// Sends progress while an operation runs. A client that has gone stops its context; the operation
// then ends by itself.
template <typename Event>
image::ProgressFn progress_to(ttrpc::Call& call) {
  return [&call](const image::Progress& progress) {
    Event event;
    event.progress = to_message(progress);
    static_cast<void>(call.send(ttrpc::encode(event)));
  };
}

Status pull(const Parts& parts, ttrpc::Call& call) {
  auto request = SKIFF_TRY(ttrpc::decode<PullRequest>(call.payload()));
  auto reference = SKIFF_TRY(oci::Reference::parse(request.reference));
  image::PullOptions options;
  options.platform = SKIFF_TRY(platform_of(request.platform));
  options.access = to_access(request.access);
  options.snapshotter = request.snapshotter;
  options.unpack = !request.no_unpack;
  options.remote = request.remote;
  options.labels = std::move(request.labels);
  options.trace = request.trace;
  auto result = SKIFF_TRY_WRAP(
      parts.images.pull(call.context(), reference, options, progress_to<PullEvent>(call)),
      "pull {}", reference.familiar());
  return call.send(ttrpc::encode(PullEvent{std::nullopt, to_message(result)}));
}

Status push(const Parts& parts, ttrpc::Call& call) {
  auto request = SKIFF_TRY(ttrpc::decode<PushRequest>(call.payload()));
  const std::string& to = request.target.empty() ? request.name : request.target;
  auto target = SKIFF_TRY(oci::Reference::parse(to));
  image::PushOptions options;
  options.access = to_access(request.access);
  options.platform = SKIFF_TRY(platform_of(request.platform));
  options.all_platforms = request.all_platforms;
  SKIFF_TRY_WRAP(parts.images.push(call.context(), request.name, target, options,
                                   progress_to<PushEvent>(call)),
                 "push {}", target.familiar());
  return ok();
}

Result<ListImagesResponse> list(const Parts& parts, const Context& context,
                                const ListImagesRequest& request) {
  ListImagesResponse out;
  for (const image::ImageSummary& each : SKIFF_TRY(parts.images.list(context, request.filters)))
    out.images.push_back(to_message(each));
  return out;
}

Result<InspectImageResponse> inspect(const Parts& parts, const Context& context,
                                     const InspectImageRequest& request) {
  auto platform = SKIFF_TRY(platform_of(request.platform));
  auto details = SKIFF_TRY(parts.images.inspect(context, request.name, platform));
  return InspectImageResponse{to_message(details.summary), std::move(details.names),
                              std::move(details.manifest_json), std::move(details.config_json),
                              details.chain_id.str()};
}

Result<TagImageResponse> tag(const Parts& parts, const Context& context,
                             const TagImageRequest& request) {
  auto target = SKIFF_TRY(oci::Reference::parse(request.target));
  if (target.digest())
    return fail(Code::kInvalidArgument, "tag {}: a name with a digest cannot be given to an image",
                request.target);
  return TagImageResponse{SKIFF_TRY(parts.images.tag(context, request.source, target)).name};
}

Result<RemoveImageResponse> remove(const Parts& parts, const Context& context,
                                   const RemoveImageRequest& request) {
  auto removed = SKIFF_TRY(parts.images.remove(context, request.name));
  if (removed.last) parts.removed();
  return RemoveImageResponse{removed.name, removed.last};
}

// The one descriptor that an archive goes to or comes from.
Result<sys::UniqueFd> take_fd(ttrpc::Call& call) {
  std::vector<sys::UniqueFd> fds = call.take_fds();
  if (fds.size() != 1)
    return fail(Code::kInvalidArgument, "expected one file descriptor for the archive, got {}",
                fds.size());
  return std::move(fds.front());
}

class CountingSink : public ByteSink {
 public:
  CountingSink(const Context& context, int fd) : context_(context), sink_(fd) {}
  Status write(Bytes bytes) override {
    SKIFF_TRY(context_.check());
    SKIFF_TRY(sink_.write(bytes));
    bytes_ += bytes.size();
    return ok();
  }
  uint64_t bytes() const { return bytes_; }

 private:
  const Context& context_;
  sys::FdSink sink_;
  uint64_t bytes_ = 0;
};

// Reads a file or pipe at its own position, as long as the caller is there.
class ArchiveSource : public ByteSource {
 public:
  ArchiveSource(const Context& context, int fd) : context_(context), fd_(fd) {}
  Result<size_t> read(MutableBytes buffer) override {
    SKIFF_TRY(context_.check());
    for (;;) {
      ssize_t n = ::read(fd_, buffer.data(), buffer.size());
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) return fail_errno(errno, "read the archive");
    }
  }

 private:
  const Context& context_;
  int fd_;
};

Result<std::string> save(const Parts& parts, ttrpc::Call& call) {
  auto request = SKIFF_TRY(ttrpc::decode<SaveImagesRequest>(call.payload()));
  sys::UniqueFd fd = SKIFF_TRY(take_fd(call));
  if (request.names.empty()) return fail(Code::kInvalidArgument, "no image was named");
  auto format = request.format == ArchiveFormat::kOci ? image::ArchiveFormat::kOciLayout
                                                      : image::ArchiveFormat::kDocker;
  CountingSink sink(call.context(), fd.get());
  SKIFF_TRY(parts.images.export_archive(call.context(), request.names, format,
                                        SKIFF_TRY(platform_of(request.platform)), sink));
  return ttrpc::encode(SaveImagesResponse{sink.bytes()});
}

Status load(const Parts& parts, ttrpc::Call& call) {
  auto request = SKIFF_TRY(ttrpc::decode<LoadImagesRequest>(call.payload()));
  sys::UniqueFd fd = SKIFF_TRY(take_fd(call));
  image::ImportOptions options;
  options.snapshotter = request.snapshotter;
  options.unpack = !request.no_unpack;
  options.platform = SKIFF_TRY(platform_of(request.platform));
  options.name = request.name;
  ArchiveSource source(call.context(), fd.get());
  LoadImagesResult result;
  for (const image::Image& each : SKIFF_TRY(parts.images.import_archive(
           call.context(), source, options, progress_to<LoadImagesEvent>(call))))
    result.images.push_back(to_message(each));
  return call.send(ttrpc::encode(LoadImagesEvent{std::nullopt, std::move(result)}));
}

}  // namespace

ttrpc::Service images_service(const Parts& parts) {
  ttrpc::Service service(kImagesService);
  service.stream("Pull", [&parts](ttrpc::Call& call) { return pull(parts, call); });
  service.stream("Push", [&parts](ttrpc::Call& call) { return push(parts, call); });
  service.raw("Save", [&parts](ttrpc::Call& call) { return save(parts, call); });
  service.stream("Load", [&parts](ttrpc::Call& call) { return load(parts, call); });
  service.unary<ListImagesRequest>("List", [&parts](const Context& context, const auto& request) {
    return list(parts, context, request);
  });
  service.unary<InspectImageRequest>("Inspect",
                                     [&parts](const Context& context, const auto& request) {
                                       return inspect(parts, context, request);
                                     });
  service.unary<TagImageRequest>("Tag", [&parts](const Context& context, const auto& request) {
    return tag(parts, context, request);
  });
  service.unary<RemoveImageRequest>("Remove",
                                    [&parts](const Context& context, const auto& request) {
                                      return remove(parts, context, request);
                                    });
  return service;
}

}  // namespace skiff::native
