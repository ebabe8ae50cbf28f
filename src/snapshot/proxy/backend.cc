#include "snapshot/proxy/backend.h"

#include <grpcpp/grpcpp.h>

#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "grpc_host/call.h"
#include "grpc_host/status.h"

namespace skiff::snapshot {
namespace {

namespace api = ::containerd::services::snapshots::v1;
using grpc_host::Call;

// containerd's own limit of a message.
constexpr int kMaxMessage = 16 << 20;

std::vector<Mount> mounts_of(
    const google::protobuf::RepeatedPtrField<containerd::types::Mount>& list) {
  std::vector<Mount> mounts;
  for (const auto& one : list)
    mounts.push_back(
        {one.type(), one.source(), one.target(), {one.options().begin(), one.options().end()}});
  return mounts;
}

BackendInfo info_of(const api::Info& info) {
  Kind kind = info.kind() == api::COMMITTED ? Kind::kCommitted
              : info.kind() == api::VIEW    ? Kind::kView
                                            : Kind::kActive;
  return {info.name(), info.parent(), kind, {info.labels().begin(), info.labels().end()}};
}

template <typename Request>
Request request_for(const std::string& snapshotter, const std::string& key) {
  Request request;
  request.set_snapshotter(snapshotter);
  request.set_key(key);
  return request;
}

std::shared_ptr<grpc::Channel> channel_to(const sys::Path& socket) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessage);
  // A backend that restarts is to be found again at once, not after gRPC's minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  return grpc::CreateCustomChannel("unix:" + socket.string(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

struct Backend::Client {
  std::unique_ptr<api::Snapshots::Stub> stub;
};

Backend::Backend(const sys::Path& socket, std::string snapshotter)
    : snapshotter_(std::move(snapshotter)),
      client_(std::make_unique<Client>(api::Snapshots::NewStub(channel_to(socket)))) {}
Backend::~Backend() = default;

std::string Backend::what(const char* call, const std::string& key) const {
  return fmt::format("snapshotter {}: {} {}", snapshotter_, call, key);
}

Result<std::vector<Mount>> Backend::prepare(const Context& context, const std::string& key,
                                            const std::string& parent, const Labels& labels) {
  auto request = request_for<api::PrepareSnapshotRequest>(snapshotter_, key);
  request.set_parent(parent);
  request.mutable_labels()->insert(labels.begin(), labels.end());
  api::PrepareSnapshotResponse response;
  Call call(context);
  SKIFF_TRY(grpc_host::check(client_->stub->Prepare(call.get(), request, &response),
                             what("prepare", key)));
  return mounts_of(response.mounts());
}

Result<std::vector<Mount>> Backend::view(const Context& context, const std::string& key,
                                         const std::string& parent, const Labels& labels) {
  auto request = request_for<api::ViewSnapshotRequest>(snapshotter_, key);
  request.set_parent(parent);
  request.mutable_labels()->insert(labels.begin(), labels.end());
  api::ViewSnapshotResponse response;
  Call call(context);
  SKIFF_TRY(
      grpc_host::check(client_->stub->View(call.get(), request, &response), what("view", key)));
  return mounts_of(response.mounts());
}

Result<std::vector<Mount>> Backend::mounts(const Context& context, const std::string& key) {
  auto request = request_for<api::MountsRequest>(snapshotter_, key);
  api::MountsResponse response;
  Call call(context);
  SKIFF_TRY(
      grpc_host::check(client_->stub->Mounts(call.get(), request, &response), what("mounts", key)));
  return mounts_of(response.mounts());
}

Status Backend::commit(const Context& context, const std::string& name, const std::string& key,
                       const Labels& labels) {
  auto request = request_for<api::CommitSnapshotRequest>(snapshotter_, key);
  request.set_name(name);
  request.mutable_labels()->insert(labels.begin(), labels.end());
  google::protobuf::Empty response;
  Call call(context);
  return grpc_host::check(client_->stub->Commit(call.get(), request, &response),
                          what("commit", key));
}

Status Backend::remove(const Context& context, const std::string& key) {
  auto request = request_for<api::RemoveSnapshotRequest>(snapshotter_, key);
  google::protobuf::Empty response;
  Call call(context);
  return grpc_host::check(client_->stub->Remove(call.get(), request, &response),
                          what("remove", key));
}

Result<BackendInfo> Backend::stat(const Context& context, const std::string& key) {
  auto request = request_for<api::StatSnapshotRequest>(snapshotter_, key);
  api::StatSnapshotResponse response;
  Call call(context);
  SKIFF_TRY(
      grpc_host::check(client_->stub->Stat(call.get(), request, &response), what("stat", key)));
  return info_of(response.info());
}

Status Backend::set_labels(const Context& context, const std::string& key, const Labels& labels) {
  api::UpdateSnapshotRequest request;
  request.set_snapshotter(snapshotter_);
  request.mutable_info()->set_name(key);
  request.mutable_info()->mutable_labels()->insert(labels.begin(), labels.end());
  for (const auto& [label, value] : labels)
    request.mutable_update_mask()->add_paths("labels." + label);
  api::UpdateSnapshotResponse response;
  Call call(context);
  return grpc_host::check(client_->stub->Update(call.get(), request, &response),
                          what("update", key));
}

Result<Usage> Backend::usage(const Context& context, const std::string& key) {
  auto request = request_for<api::UsageRequest>(snapshotter_, key);
  api::UsageResponse response;
  Call call(context);
  SKIFF_TRY(
      grpc_host::check(client_->stub->Usage(call.get(), request, &response), what("usage", key)));
  return Usage{static_cast<uint64_t>(std::max<int64_t>(0, response.size())),
               static_cast<uint64_t>(std::max<int64_t>(0, response.inodes()))};
}

Result<std::vector<BackendInfo>> Backend::list(const Context& context) {
  api::ListSnapshotsRequest request;
  request.set_snapshotter(snapshotter_);
  Call call(context);
  auto stream = client_->stub->List(call.get(), request);
  std::vector<BackendInfo> all;
  api::ListSnapshotsResponse part;
  while (stream->Read(&part))
    for (const api::Info& info : part.info()) all.push_back(info_of(info));
  SKIFF_TRY(grpc_host::check(stream->Finish(), what("list", "")));
  return all;
}

Status Backend::cleanup(const Context& context) {
  api::CleanupRequest request;
  request.set_snapshotter(snapshotter_);
  google::protobuf::Empty response;
  Call call(context);
  Status status =
      grpc_host::check(client_->stub->Cleanup(call.get(), request, &response), what("cleanup", ""));
  return status || status.error().is(Code::kUnimplemented) ? ok() : status;
}

}  // namespace skiff::snapshot
