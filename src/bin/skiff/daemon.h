// The way to skiffd: its socket, and the context under which a command's calls go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "bin/skiff/options.h"
#include "serve/native/api.h"
#include "ttrpc/client.h"

namespace skiff::cli {

class Daemon {
 public:
  // Unavailable or PermissionDenied says what to do.
  static Result<Daemon> connect(const Global& global);

  // The namespace that was asked for.
  const Context& context() const { return context_; }
  ttrpc::Client& client() const { return *client_; }

  template <class Response, class Request>
  Result<Response> call(const char* service, const char* method, const Request& request,
                        std::vector<sys::UniqueFd> fds = {}) const {
    return client_->call<Response>(context_, service, method, request, std::move(fds));
  }

  // Calls `each` with every message of a stream until it ends.
  template <class Event, class Request, class Each>
  Status stream(const char* service, const char* method, const Request& request, Each each,
                std::vector<sys::UniqueFd> fds = {}) const {
    auto events = SKIFF_TRY(
        client_->stream(context_, service, method, ttrpc::encode(request), std::move(fds)));
    while (auto message = SKIFF_TRY(events->next()))
      each(SKIFF_TRY(ttrpc::decode<Event>(*message)));
    return ok();
  }

  // The same daemon with calls that end when `stop` is requested.
  Daemon with_stop(std::stop_token stop) const {
    return Daemon(client_, context_.with_stop(std::move(stop)));
  }

 private:
  Daemon(std::shared_ptr<ttrpc::Client> client, Context context)
      : client_(std::move(client)), context_(std::move(context)) {}
  std::shared_ptr<ttrpc::Client> client_;
  Context context_;
};

// What the user has for the registries of these references.
Result<native::Access> access_for(const Context& context, const RegistryOptions& options,
                                  const std::vector<std::string>& references);

}  // namespace skiff::cli
