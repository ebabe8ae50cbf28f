// Images: pull, unpack, tag, list, inspect, remove, push, import and export.
//
// One ImageService a daemon, shared by every face. Thread-safe. Each operation runs on the caller's
// thread until its result stands; the bytes move on flights (flight.h) that callers share: twenty
// pulls of one image cost one. docs/life-of-a-pull.md tells the whole story.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/stream.h"
#include "content/content_store.h"
#include "image/progress.h"
#include "metadata/rows.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "registry/registry.h"
#include "snapshot/snapshotter.h"

namespace skiff::image {

using metadata::Image;
using metadata::Labels;

struct PullOptions {
  oci::Platform platform = oci::Platform::host();
  registry::Access access;
  // Name of the snapshotter to unpack into; empty: the daemon's default.
  std::string snapshotter;
  bool unpack = true;
  // Ask a remote snapshotter for the layers first (also on when the snapshotter is set as remote).
  bool remote = false;
  Labels labels;
  // Collect the time line; PullResult::trace holds it then.
  bool trace = false;
};

struct PullResult {
  Image image;
  Digest manifest;
  Digest config;
  Digest chain_id;  // of the top layer; empty without layers or without unpack
  uint64_t fetched_bytes = 0;
  uint32_t layers = 0;
  uint32_t layers_present = 0;  // unpacked before this pull began
  uint32_t layers_remote = 0;   // taken from a remote snapshotter
  bool up_to_date = false;      // the name already pointed at this, whole
  std::string trace;            // Chrome trace events as JSON, when asked for
};

struct PushOptions {
  registry::Access access;
  oci::Platform platform = oci::Platform::host();
  // Push the whole index where the image is one and all of it is here; else the platform's
  // manifest.
  bool all_platforms = false;
};

struct ImageSummary {
  Image image;
  oci::Descriptor target;
  Digest config;        // empty when the content is not here
  uint64_t size = 0;    // manifest, config and layers as stored, bytes
  std::string created;  // from the config, RFC 3339
  oci::Platform platform;
};

struct ImageDetails {
  ImageSummary summary;
  oci::Manifest manifest;
  oci::ImageConfig config;
  std::string manifest_json;
  std::string config_json;
  Digest chain_id;
  // Other names of the same target in this namespace.
  std::vector<std::string> names;
};

struct Removed {
  std::string name;
  // The last name of its target went: the content is garbage now.
  bool last = false;
};

enum class ArchiveFormat { kOciLayout, kDocker };  // docker-save archives carry an OCI layout too

struct ImportOptions {
  std::string snapshotter;
  bool unpack = true;
  oci::Platform platform = oci::Platform::host();
  // For images in the archive that carry no name: this name, or none.
  std::string name;
};

class ImageService {
 public:
  struct Parts {
    metadata::Store& store;
    content::ContentStore& content;
    registry::Resolver& resolver;
    // By name; the first is the default. Not owned.
    std::vector<snapshot::Snapshotter*> snapshotters;
    struct Limits {
      int layer_fetches = 6;  // blobs fetched at once in the whole daemon
      int unpacks = 0;        // layers unpacked at once; 0: the number of processors
      int connections_per_blob = 4;
      uint64_t piece_bytes = 8 << 20;
      uint64_t max_layer_bytes = 0;  // unpacked; 0: no bound but the disk
      uint64_t max_layer_entries = 10'000'000;
      bool isolated = false;  // content_sharing_policy = isolated
    } limits;
    // Where snapshots are mounted for a moment, <state>/mounts; emptied by `recover`.
    sys::Path mount_dir;
    // The folder of a committed layer of a local snapshotter that can rebase, to make it anew.
    std::function<Result<sys::Path>(const metadata::Snapshot&)> layer_folder;
    // Called when blobs or layers were committed that ride (metadata's confirmer).
    std::function<void()> note_written;
  };
  static std::unique_ptr<ImageService> create(Parts parts);
  virtual ~ImageService() = default;

  // NotFound, PermissionDenied, Unauthenticated, Unavailable from the registry; DataLoss when
  // something is not what its digest says; InvalidArgument for a malformed image. The image's name
  // is visible when this returns, and only then.
  virtual Result<PullResult> pull(const Context& context, const oci::Reference& reference,
                                  const PullOptions& options, const ProgressFn& progress) = 0;
  virtual Status push(const Context& context, const std::string& name, const oci::Reference& target,
                      const PushOptions& options, const ProgressFn& progress) = 0;
  virtual Result<std::vector<ImageSummary>> list(const Context& context,
                                                 const std::vector<std::string>& filters) = 0;
  // `name` is a stored name, anything that normalises to one, or a unique prefix (4 or more hex
  // digits) of a target's or config's digest. NotFound names it.
  virtual Result<Image> find(const Context& context, const std::string& name) = 0;
  virtual Result<ImageDetails> inspect(const Context& context, const std::string& name,
                                       const oci::Platform& platform) = 0;
  virtual Result<Image> tag(const Context& context, const std::string& source,
                            const oci::Reference& target) = 0;
  virtual Result<Removed> remove(const Context& context, const std::string& name) = 0;
  // Makes the image's layers committed snapshots; returns the top chain ID (empty without layers).
  virtual Result<Digest> unpack(const Context& context, const std::string& name,
                                const std::string& snapshotter, const oci::Platform& platform) = 0;
  virtual Status export_archive(const Context& context, const std::vector<std::string>& names,
                                ArchiveFormat format, const oci::Platform& platform,
                                ByteSink& sink) = 0;
  virtual Result<std::vector<Image>> import_archive(const Context& context, ByteSource& archive,
                                                    const ImportOptions& options,
                                                    const ProgressFn& progress) = 0;
  // After a start, before anything else: takes off mounts that a crash left, and rebuilds layers
  // that a power loss may have hurt from their blobs; where that cannot be, the log names the
  // layer.
  virtual Status recover(const Context& context) = 0;
};

}  // namespace skiff::image
