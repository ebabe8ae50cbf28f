#include "tests/lib/image_house.h"

#include <algorithm>

#include <sched.h>
#include <sys/mount.h>

#include "base/check.h"
#include "image/internal.h"
#include "image/mounted.h"
#include "snapshot/native/native_driver.h"
#include "snapshot/overlay/overlay_driver.h"

namespace skiff::testing {
namespace {

// Time-outs that tests can wait for, and still far above what a loaded machine needs.
http::Timeouts short_timeouts() {
  http::Timeouts timeouts;
  timeouts.response = std::chrono::milliseconds(5000);
  timeouts.stall_window = std::chrono::milliseconds(1000);
  return timeouts;
}

registry::RetryPolicy quick_retries() {
  registry::RetryPolicy policy;
  policy.first_wait = std::chrono::milliseconds(1);
  policy.longest_wait = std::chrono::milliseconds(20);
  return policy;
}

template <typename T>
T must(Result<T> result, const char* what) {
  if (!result) {
    fprintf(stderr, "%s: %s\n", what, result.error().message().c_str());
    SKIFF_CHECK(false, what);
  }
  return *std::move(result);
}

void must(Status status, const char* what) {
  if (!status) fprintf(stderr, "%s: %s\n", what, status.error().message().c_str());
  SKIFF_CHECK(status, what);
}

std::unique_ptr<snapshot::Driver> make_driver(const std::string& name, const sys::Path& root) {
  if (name == "native") return std::make_unique<snapshot::NativeDriver>(root);
  return must(snapshot::OverlayDriver::open(root), "open the overlay driver");
}

std::string describe(const sys::Path& root, const std::filesystem::directory_entry& entry) {
  const auto name = std::filesystem::relative(entry.path(), root).string();
  const auto st = must(sys::stat_path(entry.path()), "stat");
  if (S_ISLNK(st.st_mode))
    return fmt::format("{} l {}", name, std::filesystem::read_symlink(entry.path()).string());
  if (S_ISDIR(st.st_mode)) return fmt::format("{} d {:o}", name, st.st_mode & 07777);
  std::string content = S_ISREG(st.st_mode) ? must(sys::read_file(entry.path()), "read") : "";
  if (content.size() > 32) content = fmt::format("({} bytes)", content.size());
  return fmt::format("{} f {:o} {}", name, st.st_mode & 07777, content);
}

}  // namespace

void private_mounts() {
  SKIFF_CHECK(unshare(CLONE_NEWNS) == 0, "a mount namespace of its own (run tests as root)");
  SKIFF_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
}

ImageHouse::ImageHouse(Options options) : options_(std::move(options)), root_(options_.root) {
  if (root_.empty()) {
    own_root_ = std::make_unique<sys::TempDir>("skiff-house-");
    root_ = own_root_->path();
  }
  http_ = std::make_unique<http::Client>();
  open();
}

ImageHouse::~ImageHouse() { close(); }

void ImageHouse::open() {
  const Context context;
  store_ = must(metadata::Store::open(root_ / "metadata.db", {.boot_id = options_.boot_id}),
                "open the metadata store");
  content_ = must(content::LocalContentStore::open(
                      *store_, {.root = root_, .reserve_bytes = options_.reserve_bytes}),
                  "open the content store");
  must(content_->recover(context), "recover the content store");
  snapshotter_ = must(snapshot::LocalSnapshotter::open(*store_, make_driver(options_.driver, root_),
                                                       {.root = root_}),
                      "open the snapshotter");
  must(snapshotter_->recover(context), "recover the snapshotter");
  registry::DistributionOptions distribution;
  distribution.timeouts = short_timeouts();
  distribution.retry = quick_retries();
  resolver_ = registry::make_distribution_resolver(*http_, distribution);
  auto* snapshotter = snapshotter_.get();
  images_ =
      image::ImageService::create({.store = *store_,
                                   .content = *content_,
                                   .resolver = *resolver_,
                                   .snapshotters = {snapshotter},
                                   .limits = options_.limits,
                                   .mount_dir = root_ / "mounts",
                                   .layer_folder = [snapshotter](const metadata::Snapshot& row) {
                                     return snapshotter->layer_folder(row.id);
                                   }});
  must(images_->recover(context), "recover the images");
}

void ImageHouse::close() {
  images_.reset();
  resolver_.reset();
  snapshotter_.reset();
  content_.reset();
  store_.reset();
}

void ImageHouse::restart(const std::string& boot_id) {
  close();
  if (!boot_id.empty()) options_.boot_id = boot_id;
  open();
}

image::PullOptions ImageHouse::pull_options(const registry::CredentialSourcePtr& credentials) {
  return {.access = {.credentials = credentials, .plain_http = true}};
}

Result<image::PullResult> ImageHouse::pull(const FakeRegistry& registry, const std::string& name,
                                           const registry::CredentialSourcePtr& credentials,
                                           const Context& context) {
  auto reference = SKIFF_TRY(oci::Reference::parse(registry.host() + "/" + name));
  return images_->pull(context, reference, pull_options(credentials), nullptr);
}

metadata::GcStats ImageHouse::collect() {
  const Context context;
  auto stats = must(metadata::collect(context, *store_), "collect garbage");
  must(metadata::sweep_tombstones(context, *store_,
                                  [&](const std::string& kind, const std::string& path) {
                                    return kind == "snapshot"
                                               ? snapshotter_->remove_files(context, kind, path)
                                               : content_->remove_files(context, kind, path);
                                  }),
       "sweep tombstones");
  return stats;
}

std::vector<std::string> ImageHouse::leftovers() {
  std::vector<std::string> found;
  const Context context;
  for (const Finding& finding : must(content_->fsck(context, true), "check the content"))
    found.push_back(fmt::format("{}: {} {}", finding.kind, finding.subject, finding.detail));
  for (const Finding& finding : must(snapshotter_->fsck(context), "check the snapshots"))
    found.push_back(fmt::format("{}: {} {}", finding.kind, finding.subject, finding.detail));
  must(store_->read(context,
                    [&](metadata::Reader& reader) -> Status {
                      for (const auto& ns : SKIFF_TRY(metadata::namespaces::list(reader))) {
                        for (const auto& row : SKIFF_TRY(metadata::snapshots::list(
                                 reader, ns, snapshotter_->name(), {"kind==active"})))
                          found.push_back(fmt::format("active snapshot {} {}", ns, row.key));
                        // A flight that was given up may be resumed for a day.
                        if (ns == image::kFlightNamespace) continue;
                        for (const auto& row : SKIFF_TRY(metadata::ingests::list(reader, ns)))
                          found.push_back(fmt::format("ingest {} {}", ns, row.ref));
                        for (const auto& row : SKIFF_TRY(metadata::leases::list(reader, ns, {})))
                          found.push_back(fmt::format("lease {} {}", ns, row.id));
                      }
                      return ok();
                    }),
       "list rows");
  for (const auto& mount : must(sys::mounts_below(root_), "list mounts"))
    found.push_back("mount " + mount.target);
  return found;
}

std::vector<std::string> ImageHouse::tree(const Digest& chain_id, const Context& caller) {
  const image::HeldLease lease(*store_, caller);
  const Context context = caller.with_lease(lease.id());
  const std::string key = "tree-" + random_id(6);
  auto mounts = must(snapshotter_->view(context, key, chain_id.str(), {}), "view the image");
  std::vector<std::string> lines;
  must(image::with_mounted(root_ / "mounts", mounts,
                           [&](const sys::Path& root) -> Status {
                             for (const auto& entry :
                                  std::filesystem::recursive_directory_iterator(root))
                               lines.push_back(describe(root, entry));
                             return ok();
                           }),
       "mount the image");
  must(snapshotter_->remove(context, key), "remove the view");
  std::ranges::sort(lines);
  return lines;
}

}  // namespace skiff::testing
