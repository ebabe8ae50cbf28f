// The messages of skiff.v1, the native API on skiff.sock, as plain structs for the ttrpc codec;
// daemon and CLI share them. proto/skiff/v1/ describes them to everybody else, and says what each
// method and field means; a test keeps the two equal.
//
// Links into the static CLI: base and ttrpc only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ttrpc/message.h"
#include "ttrpc/well_known.h"

namespace skiff::native {

inline constexpr char kImagesService[] = "skiff.v1.Images";
inline constexpr char kContainersService[] = "skiff.v1.Containers";
inline constexpr char kSystemService[] = "skiff.v1.System";

using Labels = std::map<std::string, std::string>;
using ttrpc::Empty;

// clang-format off: a visitor is a table of numbers and names, a line or two each.

// --- registries -------------------------------------------------------------------------------
struct Credential {
  std::string host, username, password, identity_token, registry_token;
  template <class V> void fields(V& v) {
    v(1, host); v(2, username); v(3, password); v(4, identity_token); v(5, registry_token);
  }
};

struct Access {
  std::vector<Credential> credentials;
  bool plain_http = false;
  bool skip_verify = false;
  template <class V> void fields(V& v) { v(1, credentials); v(2, plain_http); v(3, skip_verify); }
};

// --- progress ---------------------------------------------------------------------------------
enum class LayerState : int32_t {
  kWaiting = 0,
  kPresent = 1,
  kRemote = 2,
  kDownloading = 3,
  kUnpacking = 4,
  kPushing = 5,
  kDone = 6,
};

struct LayerProgress {
  std::string digest;
  LayerState state = LayerState::kWaiting;
  uint64_t offset = 0, total = 0;
  template <class V> void fields(V& v) { v(1, digest); v(2, state); v(3, offset); v(4, total); }
};

struct Progress {
  std::string phase;
  std::vector<LayerProgress> layers;
  template <class V> void fields(V& v) { v(1, phase); v(2, layers); }
};

// --- images -----------------------------------------------------------------------------------
struct Image {
  std::string name, digest, media_type;
  std::string config_digest;
  uint64_t size = 0;
  std::string platform;
  std::string created;  // RFC 3339, from the image's config
  int64_t updated = 0;  // nanoseconds since 1970, of the name
  Labels labels;
  template <class V> void fields(V& v) {
    v(1, name); v(2, digest); v(3, media_type); v(4, config_digest); v(5, size); v(6, platform);
    v(7, created); v(8, updated); v(9, labels);
  }
};

struct PullRequest {
  std::string reference, platform, snapshotter;
  bool no_unpack = false, remote = false, trace = false;
  Access access;
  Labels labels;
  template <class V> void fields(V& v) {
    v(1, reference); v(2, platform); v(3, snapshotter); v(4, no_unpack); v(5, remote); v(6, trace);
    v(7, access); v(8, labels);
  }
};

struct PullResult {
  Image image;
  std::string manifest_digest, chain_id;
  uint64_t fetched_bytes = 0;
  uint32_t layers = 0, layers_present = 0, layers_remote = 0;
  bool up_to_date = false;
  std::string trace;
  template <class V> void fields(V& v) {
    v(1, image); v(2, manifest_digest); v(3, chain_id); v(4, fetched_bytes); v(5, layers);
    v(6, layers_present); v(7, layers_remote); v(8, up_to_date); v(9, trace);
  }
};

struct PullEvent {
  std::optional<Progress> progress;
  std::optional<PullResult> result;
  template <class V> void fields(V& v) { v(1, progress); v(2, result); }
};

struct PushRequest {
  std::string name, target, platform;
  bool all_platforms = false;
  Access access;
  template <class V> void fields(V& v) {
    v(1, name); v(2, target); v(3, platform); v(4, all_platforms); v(5, access);
  }
};

struct PushEvent {
  std::optional<Progress> progress;
  template <class V> void fields(V& v) { v(1, progress); }
};

struct ListImagesRequest {
  std::vector<std::string> filters;
  template <class V> void fields(V& v) { v(1, filters); }
};

struct ListImagesResponse {
  std::vector<Image> images;
  template <class V> void fields(V& v) { v(1, images); }
};

struct InspectImageRequest {
  std::string name, platform;
  template <class V> void fields(V& v) { v(1, name); v(2, platform); }
};

struct InspectImageResponse {
  Image image;
  std::vector<std::string> names;
  std::string manifest_json, config_json, chain_id;
  template <class V> void fields(V& v) {
    v(1, image); v(2, names); v(3, manifest_json); v(4, config_json); v(5, chain_id);
  }
};

struct TagImageRequest {
  std::string source, target;
  template <class V> void fields(V& v) { v(1, source); v(2, target); }
};

struct TagImageResponse {
  std::string name;
  template <class V> void fields(V& v) { v(1, name); }
};

struct RemoveImageRequest {
  std::string name;
  template <class V> void fields(V& v) { v(1, name); }
};

struct RemoveImageResponse {
  std::string name;
  bool last = false;
  template <class V> void fields(V& v) { v(1, name); v(2, last); }
};

enum class ArchiveFormat : int32_t { kDocker = 0, kOci = 1 };

struct SaveImagesRequest {
  std::vector<std::string> names;
  ArchiveFormat format = ArchiveFormat::kDocker;
  std::string platform;
  template <class V> void fields(V& v) { v(1, names); v(2, format); v(3, platform); }
};

struct SaveImagesResponse {
  uint64_t bytes = 0;
  template <class V> void fields(V& v) { v(1, bytes); }
};

struct LoadImagesRequest {
  std::string name, platform, snapshotter;
  bool no_unpack = false;
  template <class V> void fields(V& v) { v(1, name); v(2, platform); v(3, snapshotter); v(4, no_unpack); }
};

struct LoadImagesResult {
  std::vector<Image> images;
  template <class V> void fields(V& v) { v(1, images); }
};

struct LoadImagesEvent {
  std::optional<Progress> progress;
  std::optional<LoadImagesResult> result;
  template <class V> void fields(V& v) { v(1, progress); v(2, result); }
};

// --- containers -------------------------------------------------------------------------------
struct StringList {
  std::vector<std::string> values;
  template <class V> void fields(V& v) { v(1, values); }
};

enum class MountType : int32_t { kBind = 0, kTmpfs = 1 };

struct Mount {
  MountType type = MountType::kBind;
  std::string source, target;
  bool read_only = false;
  std::vector<std::string> options;
  template <class V> void fields(V& v) {
    v(1, type); v(2, source); v(3, target); v(4, read_only); v(5, options);
  }
};

enum class Network : int32_t { kNone = 0, kHost = 1 };

struct ContainerSpec {
  std::string id, name, image, snapshotter;
  std::optional<StringList> entrypoint;
  std::vector<std::string> command, env;
  std::string working_dir, user;
  std::vector<std::string> additional_groups;
  std::string hostname;
  bool tty = false, open_stdin = false, read_only = false, privileged = false;
  Network network = Network::kNone;
  std::vector<Mount> mounts;
  std::vector<std::string> cap_add, cap_drop;
  uint64_t memory_bytes = 0;
  double cpus = 0;
  int64_t pids_limit = 0;
  std::map<std::string, std::string> sysctls;
  std::string runtime;
  Labels labels;
  bool auto_remove = false;
  template <class V> void fields(V& v) {
    v(1, id); v(2, name); v(3, image); v(4, snapshotter); v(5, entrypoint); v(6, command);
    v(7, env); v(8, working_dir); v(9, user); v(10, additional_groups); v(11, hostname); v(12, tty);
    v(13, open_stdin); v(14, read_only); v(15, privileged); v(16, network); v(17, mounts);
    v(18, cap_add); v(19, cap_drop); v(20, memory_bytes); v(21, cpus); v(22, pids_limit);
    v(23, sysctls); v(24, runtime); v(25, labels); v(26, auto_remove);
  }
};

struct TerminalSize {
  uint32_t rows = 0, columns = 0;
  template <class V> void fields(V& v) { v(1, rows); v(2, columns); }
};

struct RunRequest {
  ContainerSpec spec;
  TerminalSize size;
  template <class V> void fields(V& v) { v(1, spec); v(2, size); }
};

struct Started {
  std::string id;
  int32_t pid = 0;
  template <class V> void fields(V& v) { v(1, id); v(2, pid); }
};

struct Exited {
  int32_t code = 0;
  bool oom_killed = false;
  int64_t time = 0;  // nanoseconds since 1970
  std::string error;
  template <class V> void fields(V& v) { v(1, code); v(2, oom_killed); v(3, time); v(4, error); }
};

struct RunEvent {
  std::optional<Started> started;
  std::optional<Exited> exited;
  template <class V> void fields(V& v) { v(1, started); v(2, exited); }
};

struct WaitRequest {
  std::string id;
  template <class V> void fields(V& v) { v(1, id); }
};

struct KillRequest {
  std::string id;
  int32_t signal = 0;
  bool all = false;
  template <class V> void fields(V& v) { v(1, id); v(2, signal); v(3, all); }
};

struct ResizeRequest {
  std::string id;
  TerminalSize size;
  template <class V> void fields(V& v) { v(1, id); v(2, size); }
};

struct RemoveContainerRequest {
  std::string id;
  bool force = false;
  template <class V> void fields(V& v) { v(1, id); v(2, force); }
};

struct ListContainersRequest {
  bool all = false;
  template <class V> void fields(V& v) { v(1, all); }
};

struct Container {
  std::string id, name, image, image_digest, snapshotter, runtime;
  std::vector<std::string> arguments;
  Labels labels;
  bool tty = false, auto_remove = false;
  std::string phase;
  int32_t pid = 0;
  int64_t created = 0, started = 0;  // nanoseconds since 1970
  std::optional<Exited> exit;
  template <class V> void fields(V& v) {
    v(1, id); v(2, name); v(3, image); v(4, image_digest); v(5, snapshotter); v(6, runtime);
    v(7, arguments); v(8, labels); v(9, tty); v(10, auto_remove); v(11, phase); v(12, pid);
    v(13, created); v(14, started); v(15, exit);
  }
};

struct ListContainersResponse {
  std::vector<Container> containers;
  template <class V> void fields(V& v) { v(1, containers); }
};

// --- the daemon -------------------------------------------------------------------------------
struct VersionResponse {
  std::string version;
  std::vector<std::string> apis;
  template <class V> void fields(V& v) { v(1, version); v(2, apis); }
};

struct Snapshotter {
  std::string name;
  bool remote = false;
  template <class V> void fields(V& v) { v(1, name); v(2, remote); }
};

struct InfoResponse {
  std::string version, root, state, runtime, runtime_reason, kernel, platform, cgroups;
  std::vector<Snapshotter> snapshotters;
  uint32_t processors = 0;
  uint64_t memory_bytes = 0;
  uint32_t images = 0, containers = 0, containers_running = 0;
  int32_t pid = 0;
  template <class V> void fields(V& v) {
    v(1, version); v(2, root); v(3, state); v(4, runtime); v(5, runtime_reason); v(6, kernel);
    v(7, platform); v(8, cgroups); v(9, snapshotters); v(10, processors); v(11, memory_bytes);
    v(12, images); v(13, containers); v(14, containers_running); v(15, pid);
  }
};

struct ListLeasesRequest {
  std::vector<std::string> filters;
  template <class V> void fields(V& v) { v(1, filters); }
};

struct LeaseResource {
  std::string type, id;
  template <class V> void fields(V& v) { v(1, type); v(2, id); }
};

struct Lease {
  std::string id;
  int64_t created = 0;  // nanoseconds since 1970
  Labels labels;
  std::vector<LeaseResource> resources;
  template <class V> void fields(V& v) { v(1, id); v(2, created); v(3, labels); v(4, resources); }
};

struct ListLeasesResponse {
  std::vector<Lease> leases;
  template <class V> void fields(V& v) { v(1, leases); }
};

struct RemoveLeaseRequest {
  std::string id;
  template <class V> void fields(V& v) { v(1, id); }
};

struct GcResponse {
  uint64_t blobs = 0, snapshots = 0, ingests = 0, leases = 0;
  int64_t mark_nanos = 0, sweep_nanos = 0;
  template <class V> void fields(V& v) {
    v(1, blobs); v(2, snapshots); v(3, ingests); v(4, leases); v(5, mark_nanos); v(6, sweep_nanos);
  }
};

struct Space {
  std::string kind;
  uint64_t count = 0, bytes = 0;
  template <class V> void fields(V& v) { v(1, kind); v(2, count); v(3, bytes); }
};

struct DfResponse {
  std::vector<Space> kinds;
  uint64_t free_bytes = 0;
  template <class V> void fields(V& v) { v(1, kinds); v(2, free_bytes); }
};

struct FsckRequest {
  bool deep = false;
  template <class V> void fields(V& v) { v(1, deep); }
};

struct Finding {
  std::string kind, subject, detail;
  template <class V> void fields(V& v) { v(1, kind); v(2, subject); v(3, detail); }
};

struct FsckResponse {
  std::vector<Finding> findings;
  uint64_t blobs = 0, layers = 0, containers = 0, hashed_bytes = 0;
  template <class V> void fields(V& v) {
    v(1, findings); v(2, blobs); v(3, layers); v(4, containers); v(5, hashed_bytes);
  }
};

struct LoginRequest {
  Credential credential;
  bool plain_http = false, skip_verify = false;
  template <class V> void fields(V& v) { v(1, credential); v(2, plain_http); v(3, skip_verify); }
};

// clang-format on

}  // namespace skiff::native
