#include "serve/native/convert.h"

#include "codec/json/json.h"

namespace skiff::native {
namespace {

// One user's credentials as they came with a request: each for its own host alone.
class RequestCredentials : public registry::CredentialSource {
 public:
  explicit RequestCredentials(const std::vector<Credential>& credentials) {
    for (const Credential& each : credentials)
      by_host_[each.host] = {each.username, each.password, each.identity_token,
                             each.registry_token};
  }
  Result<std::optional<registry::Credentials>> get(const std::string& host) override {
    auto found = by_host_.find(host);
    if (found == by_host_.end()) return std::nullopt;
    return found->second;
  }

 private:
  std::map<std::string, registry::Credentials> by_host_;  // const after construction
};

LayerState to_state(image::LayerState state) {
  switch (state) {
    case image::LayerState::kWaiting: return LayerState::kWaiting;
    case image::LayerState::kPresent: return LayerState::kPresent;
    case image::LayerState::kRemote: return LayerState::kRemote;
    case image::LayerState::kDownloading: return LayerState::kDownloading;
    case image::LayerState::kUnpacking: return LayerState::kUnpacking;
    case image::LayerState::kPushing: return LayerState::kPushing;
    case image::LayerState::kDone: return LayerState::kDone;
  }
  return LayerState::kWaiting;
}

Result<engine::Mount> to_mount(Mount message) {
  engine::Mount mount;
  switch (message.type) {
    case MountType::kBind: mount.type = engine::MountType::kBind; break;
    case MountType::kTmpfs: mount.type = engine::MountType::kTmpfs; break;
    default: return fail(Code::kInvalidArgument, "mount {}: unknown type", message.target);
  }
  mount.source = std::move(message.source);
  mount.target = std::move(message.target);
  mount.read_only = message.read_only;
  mount.options = std::move(message.options);
  return mount;
}

}  // namespace

Result<oci::Platform> platform_of(const std::string& text) {
  if (text.empty()) return oci::Platform::host();
  return oci::Platform::parse(text);
}

registry::Access to_access(const Access& access) {
  registry::Access out;
  if (!access.credentials.empty())
    out.credentials = std::make_shared<RequestCredentials>(access.credentials);
  out.plain_http = access.plain_http;
  out.skip_verify = access.skip_verify;
  return out;
}

Progress to_message(const image::Progress& progress) {
  Progress out;
  out.phase = progress.phase;
  out.layers.reserve(progress.layers.size());
  for (const image::LayerProgress& layer : progress.layers)
    out.layers.push_back({layer.digest, to_state(layer.state), layer.offset, layer.total});
  return out;
}

Image to_message(const image::Image& image) {
  Image out;
  out.name = image.name;
  out.digest = image.digest.str();
  out.updated = image.updated;
  out.labels = image.labels;
  // The row keeps the descriptor as text; a damaged one still has its name and digest to show.
  if (auto target = json::parse(image.target))
    out.media_type = target->get_string("mediaType", "").value_or("");
  return out;
}

Image to_message(const image::ImageSummary& summary) {
  Image out = to_message(summary.image);
  out.config_digest = summary.config.str();
  out.size = summary.size;
  out.platform = summary.platform.os.empty() ? "" : summary.platform.str();
  out.created = summary.created;
  return out;
}

PullResult to_message(const image::PullResult& result) {
  PullResult out;
  out.image = to_message(result.image);
  out.image.config_digest = result.config.str();
  out.manifest_digest = result.manifest.str();
  out.chain_id = result.chain_id.str();
  out.fetched_bytes = result.fetched_bytes;
  out.layers = result.layers;
  out.layers_present = result.layers_present;
  out.layers_remote = result.layers_remote;
  out.up_to_date = result.up_to_date;
  out.trace = result.trace;
  return out;
}

Exited to_message(const engine::ExitStatus& status) {
  return {status.code, status.oom_killed, status.time, status.error};
}

Container to_message(const engine::ContainerInfo& info) {
  Container out;
  out.id = info.id;
  out.name = info.name;
  out.image = info.image;
  out.image_digest = info.image_digest.str();
  out.snapshotter = info.snapshotter;
  out.runtime = info.runtime;
  out.arguments = info.arguments;
  out.labels = info.labels;
  out.tty = info.tty;
  out.auto_remove = info.auto_remove;
  out.phase = engine::phase_name(info.phase);
  out.pid = info.pid;
  out.created = info.created;
  out.started = info.started;
  if (info.exit) out.exit = to_message(*info.exit);
  return out;
}

engine::TerminalSize to_size(const TerminalSize& message) {
  return {message.rows, message.columns};
}

Result<engine::ContainerSpec> to_spec(ContainerSpec message) {
  engine::ContainerSpec spec;
  switch (message.network) {
    case Network::kNone: spec.network = engine::Network::kNone; break;
    case Network::kHost: spec.network = engine::Network::kHost; break;
    default: return fail(Code::kInvalidArgument, "unknown network mode");
  }
  for (Mount& mount : message.mounts) spec.mounts.push_back(SKIFF_TRY(to_mount(std::move(mount))));
  if (message.entrypoint) spec.entrypoint = std::move(message.entrypoint->values);
  spec.id = std::move(message.id);
  spec.name = std::move(message.name);
  spec.image = std::move(message.image);
  spec.snapshotter = std::move(message.snapshotter);
  spec.command = std::move(message.command);
  spec.env = std::move(message.env);
  spec.working_dir = std::move(message.working_dir);
  spec.user = std::move(message.user);
  spec.additional_groups = std::move(message.additional_groups);
  spec.hostname = std::move(message.hostname);
  spec.tty = message.tty;
  spec.open_stdin = message.open_stdin;
  spec.read_only = message.read_only;
  spec.privileged = message.privileged;
  spec.cap_add = std::move(message.cap_add);
  spec.cap_drop = std::move(message.cap_drop);
  spec.memory_bytes = message.memory_bytes;
  spec.cpus = message.cpus;
  spec.pids_limit = message.pids_limit;
  spec.sysctls = std::move(message.sysctls);
  spec.runtime = std::move(message.runtime);
  spec.labels = std::move(message.labels);
  spec.auto_remove = message.auto_remove;
  return spec;
}

}  // namespace skiff::native
