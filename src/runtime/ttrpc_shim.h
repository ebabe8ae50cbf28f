// Our shim over its socket.
#pragma once

#include <memory>
#include <string>

#include "runtime/shim.h"
#include "shim_api/private.h"
#include "ttrpc/client.h"

namespace skiff::runtime {

class TtrpcShim : public Shim {
 public:
  // `runtime_root` is where the OCI runtime keeps its state.
  TtrpcShim(std::shared_ptr<ttrpc::Client> client, std::string runtime_root)
      : client_(std::move(client)), runtime_root_(std::move(runtime_root)) {}

  // Who answers, and which protocol both speak.
  Result<shim_api::HelloResponse> hello(const Context& context);

  Result<uint32_t> create(const Context& context, const CreateOptions& options,
                          Stdio stdio) override;
  Result<uint32_t> start(const Context& context, const std::string& id) override;
  Result<uint32_t> exec(const Context& context, const Process& process,
                        const std::string& process_json, Stdio stdio) override;
  Status kill(const Context& context, const Process& process, int signal, bool all) override;
  Status resize(const Context& context, const Process& process, uint32_t rows,
                uint32_t columns) override;
  Status close_stdin(const Context& context, const Process& process) override;
  Result<TaskState> state(const Context& context, const Process& process) override;
  std::function<void()> when_exited(const Process& process, ExitFn done) override;
  Result<ExitStatus> remove(const Context& context, const Process& process) override;
  Status shutdown(const Context& context) override;

 private:
  std::shared_ptr<ttrpc::Client> client_;
  std::string runtime_root_;
};

}  // namespace skiff::runtime
