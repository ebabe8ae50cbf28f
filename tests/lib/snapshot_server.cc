#include "tests/lib/snapshot_server.h"

#include <grpcpp/grpcpp.h>

#include "base/check.h"
#include "base/guarded.h"
#include "containerd/services/snapshots/v1/snapshots.grpc.pb.h"
#include "grpc_host/status.h"

namespace skiff::testing {
namespace {

namespace api = ::containerd::services::snapshots::v1;
using google::protobuf::Empty;
using grpc::ServerContext;
using snapshot::Labels;
using snapshot::SnapshotInfo;

grpc::Status answer(const Status& status) {
  return status ? grpc::Status::OK : grpc_host::to_grpc(status.error());
}

Labels labels_of(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

template <typename Response>
grpc::Status answer_mounts(const Result<std::vector<snapshot::Mount>>& mounts, Response* response) {
  if (!mounts) return grpc_host::to_grpc(mounts.error());
  for (const auto& mount : *mounts) {
    auto* out = response->add_mounts();
    out->set_type(mount.type);
    out->set_source(mount.source);
    out->set_target(mount.target);
    for (const auto& option : mount.options) out->add_options(option);
  }
  return grpc::Status::OK;
}

void fill(const SnapshotInfo& info, api::Info* out) {
  out->set_name(info.key);
  out->set_parent(info.parent);
  out->set_kind(static_cast<api::Kind>(info.kind));
  out->mutable_created_at()->set_seconds(info.created / 1'000'000'000);
  out->mutable_updated_at()->set_seconds(info.updated / 1'000'000'000);
  out->mutable_labels()->insert(info.labels.begin(), info.labels.end());
}

class Service final : public api::Snapshots::Service {
 public:
  explicit Service(snapshot::Snapshotter& backend) : backend_(backend) {}

  std::vector<std::string> calls() { return *calls_.lock(); }

  grpc::Status Prepare(ServerContext*, const api::PrepareSnapshotRequest* request,
                       api::PrepareSnapshotResponse* response) override {
    note("Prepare", request->key());
    return answer_mounts(
        backend_.prepare(context_, request->key(), request->parent(), labels_of(request->labels())),
        response);
  }
  grpc::Status View(ServerContext*, const api::ViewSnapshotRequest* request,
                    api::ViewSnapshotResponse* response) override {
    note("View", request->key());
    return answer_mounts(
        backend_.view(context_, request->key(), request->parent(), labels_of(request->labels())),
        response);
  }
  grpc::Status Mounts(ServerContext*, const api::MountsRequest* request,
                      api::MountsResponse* response) override {
    note("Mounts", request->key());
    return answer_mounts(backend_.mounts(context_, request->key()), response);
  }
  grpc::Status Commit(ServerContext*, const api::CommitSnapshotRequest* request, Empty*) override {
    note("Commit", request->name());
    return answer(backend_.commit(context_, request->name(), request->key(),
                                  {.labels = labels_of(request->labels())}));
  }
  grpc::Status Remove(ServerContext*, const api::RemoveSnapshotRequest* request, Empty*) override {
    note("Remove", request->key());
    return answer(backend_.remove(context_, request->key()));
  }
  grpc::Status Stat(ServerContext*, const api::StatSnapshotRequest* request,
                    api::StatSnapshotResponse* response) override {
    note("Stat", request->key());
    auto info = backend_.stat(context_, request->key());
    if (!info) return grpc_host::to_grpc(info.error());
    fill(*info, response->mutable_info());
    return grpc::Status::OK;
  }
  grpc::Status Update(ServerContext*, const api::UpdateSnapshotRequest* request,
                      api::UpdateSnapshotResponse* response) override {
    note("Update", request->info().name());
    const auto& paths = request->update_mask().paths();
    auto info = backend_.update(context_, request->info().name(),
                                labels_of(request->info().labels()), {paths.begin(), paths.end()});
    if (!info) return grpc_host::to_grpc(info.error());
    fill(*info, response->mutable_info());
    return grpc::Status::OK;
  }
  grpc::Status List(ServerContext*, const api::ListSnapshotsRequest* request,
                    grpc::ServerWriter<api::ListSnapshotsResponse>* stream) override {
    note("List", "");
    const auto& filters = request->filters();
    return answer(
        backend_.walk(context_, {filters.begin(), filters.end()}, [&](const SnapshotInfo& info) {
          api::ListSnapshotsResponse part;
          fill(info, part.add_info());
          stream->Write(part);
          return ok();
        }));
  }
  grpc::Status Usage(ServerContext*, const api::UsageRequest* request,
                     api::UsageResponse* response) override {
    note("Usage", request->key());
    auto usage = backend_.usage(context_, request->key());
    if (!usage) return grpc_host::to_grpc(usage.error());
    response->set_size(static_cast<int64_t>(usage->bytes));
    response->set_inodes(static_cast<int64_t>(usage->inodes));
    return grpc::Status::OK;
  }

 private:
  void note(std::string_view call, const std::string& key) {
    calls_.lock()->push_back(key.empty() ? std::string(call) : fmt::format("{} {}", call, key));
  }

  snapshot::Snapshotter& backend_;
  const Context context_;
  Guarded<std::vector<std::string>> calls_;
};

}  // namespace

struct SnapshotServer::Impl {
  explicit Impl(snapshot::Snapshotter& backend) : service(backend) {}
  Service service;
  std::unique_ptr<grpc::Server> server;
};

SnapshotServer::SnapshotServer(snapshot::Snapshotter& backend, const sys::Path& socket)
    : impl_(std::make_unique<Impl>(backend)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket.string(), grpc::InsecureServerCredentials());
  builder.RegisterService(&impl_->service);
  impl_->server = builder.BuildAndStart();
  SKIFF_CHECK(impl_->server != nullptr, "a snapshotter can listen on a socket of the test's");
}

SnapshotServer::~SnapshotServer() {
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(5));
}

std::vector<std::string> SnapshotServer::calls() const { return impl_->service.calls(); }

}  // namespace skiff::testing
