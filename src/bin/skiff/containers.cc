#include <algorithm>

#include "bin/skiff/commands.h"
#include "bin/skiff/daemon.h"
#include "bin/skiff/output.h"
#include "bin/skiff/text.h"

namespace skiff::cli {
namespace {

using namespace native;

json::Value to_json(const Container& container) {
  json::Value labels = json::Value::object();
  for (const auto& [key, value] : container.labels) labels.set(key, value);
  json::Value out = json::Value::object({{"id", container.id},
                                         {"name", container.name},
                                         {"image", container.image},
                                         {"image_digest", container.image_digest},
                                         {"snapshotter", container.snapshotter},
                                         {"runtime", container.runtime},
                                         {"arguments", json::Value::array(container.arguments)},
                                         {"labels", std::move(labels)},
                                         {"tty", container.tty},
                                         {"auto_remove", container.auto_remove},
                                         {"status", container.phase},
                                         {"pid", container.pid},
                                         {"created", rfc3339(container.created)},
                                         {"started", rfc3339(container.started)}});
  if (container.exit) {
    out.set("exit_code", container.exit->code);
    out.set("exited", rfc3339(container.exit->time));
    out.set("oom_killed", container.exit->oom_killed);
    out.set("error", container.exit->error);
  }
  return out;
}

std::string status_of(const Container& container, int64_t now) {
  if (container.exit)
    return fmt::format("{} ({}) {}", container.phase, container.exit->code,
                       age(container.exit->time, now));
  if (container.started == 0) return container.phase;
  return fmt::format("{}, started {}", container.phase, age(container.started, now));
}

std::string command_of(const Container& container) {
  constexpr size_t kShown = 32;
  std::string out;
  for (const std::string& word : container.arguments) out += (out.empty() ? "" : " ") + word;
  return columns(out) > kShown ? clip(out, kShown - 2) + ".." : out;
}

}  // namespace

Result<int> list_containers(const Global& global, const PsOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  auto response = SKIFF_TRY(daemon.call<ListContainersResponse>(
      kContainersService, "List", ListContainersRequest{options.all}));
  if (global.json) {
    json::Value out = json::Value::array();
    for (const Container& each : response.containers) out.push_back(to_json(each));
    print_json(out);
    return 0;
  }
  if (options.quiet) {
    for (const Container& each : response.containers) print_line(each.id);
    return 0;
  }
  Table table({"CONTAINER", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAME"});
  int64_t now = now_nanoseconds();
  for (const Container& each : response.containers)
    table.add({each.id.substr(0, 12), familiar(each.image), command_of(each),
               age(each.created, now), status_of(each, now), each.name});
  print(printable(table.text()));
  return 0;
}

Result<int> remove_containers(const Global& global, const RemoveContainersOptions& options) {
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  int status = 0;
  for (const std::string& id : options.ids) {
    auto removed =
        daemon.call<Empty>(kContainersService, "Remove", RemoveContainerRequest{id, options.force});
    if (removed) {
      if (!global.json) print_line(id);
    } else {
      complain(removed.error().message());
      status = kFailure;
    }
  }
  return status;
}

}  // namespace skiff::cli
