// The shim's ttrpc services: containerd's task API v2 and v3, and our private one.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "bin/skiff-shim/container.h"
#include "ttrpc/server.h"

namespace skiff::shim {

// Thread-safe.
class ShimService {
 public:
  // `on_shutdown` ends the shim; `on_empty` tells that a container could not be made and no other
  // is left. From any thread; they must not block.
  ShimService(std::shared_ptr<Shared> shared, std::function<void()> on_shutdown,
              std::function<void()> on_empty);

  ttrpc::Service task_service(const char* name);
  ttrpc::Service private_service();

  bool empty() { return containers_.lock()->empty(); }
  // SIGKILL to every container, for a shim that is told to end itself.
  void kill_all();

 private:
  using Containers = std::map<std::string, std::shared_ptr<Container>>;

  Result<std::shared_ptr<Container>> find(const std::string& id);
  // Reserves the id while the container is made; takes it back when that fails.
  Result<int> make(const Context& context, Container::Options options, Process::Names names,
                   IoRequest io, bool start);
  Result<ExitResponse> remove(const Context& context, const shim_api::ProcessRequest& request);
  Result<shim_api::StateResponse> state(const shim_api::ProcessRequest& request);
  Status shutdown(const shim_api::ShutdownRequest& request);
  // Answers when the process has ended; holds no thread meanwhile.
  template <class Answer>
  void wait(const std::shared_ptr<ttrpc::Call>& call, Answer answer);

  void add_life(ttrpc::Service& service);
  void add_control(ttrpc::Service& service);
  void add_questions(ttrpc::Service& service);

  std::shared_ptr<Shared> shared_;
  std::function<void()> on_shutdown_, on_empty_;
  Guarded<Containers> containers_;  // null while one is being made
};

}  // namespace skiff::shim
