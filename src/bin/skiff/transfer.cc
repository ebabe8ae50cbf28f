#include "bin/skiff/transfer.h"

#include <atomic>
#include <thread>

#include <unistd.h>

#include "bin/skiff/commands.h"
#include "bin/skiff/output.h"
#include "bin/skiff/text.h"
#include "oci/reference.h"
#include "sys/file.h"

namespace skiff::cli {
namespace {

using Clock = std::chrono::steady_clock;

json::Value to_json(const std::string& reference, const native::PullResult& result,
                    std::chrono::nanoseconds took) {
  return json::Value::object({{"reference", reference},
                              {"name", result.image.name},
                              {"digest", result.image.digest},
                              {"manifest", result.manifest_digest},
                              {"config", result.image.config_digest},
                              {"chain_id", result.chain_id},
                              {"fetched_bytes", result.fetched_bytes},
                              {"layers", result.layers},
                              {"layers_present", result.layers_present},
                              {"layers_remote", result.layers_remote},
                              {"up_to_date", result.up_to_date},
                              {"seconds", std::chrono::duration<double>(took).count()}});
}

native::PullRequest make_request(const PullOptions& options, const std::string& reference,
                                 native::Access access) {
  native::PullRequest request;
  request.reference = reference;
  request.platform = options.platform;
  request.snapshotter = options.snapshotter;
  request.no_unpack = options.no_unpack;
  request.remote = options.remote;
  request.trace = !options.trace_file.empty();
  request.access = std::move(access);
  return request;
}

// Several pulls side by side over one connection; says how they ended as each does. With --json
// one object a line.
class Pulls {
 public:
  Pulls(const Daemon& daemon, const Global& global, const PullOptions& options)
      : daemon_(daemon),
        global_(global),
        options_(options),
        view_(ProgressView::style_for(STDOUT_FILENO, global.json || options.quiet), STDOUT_FILENO) {
    for (const std::string& reference : options.references) {
      view_.add(familiar(reference));
      find_access(reference);
    }
  }

  int run() {
    std::vector<std::jthread> threads;
    size_t count = std::min<size_t>(options_.references.size(), std::max(1u, options_.concurrency));
    for (size_t i = 1; i < count; ++i) threads.emplace_back([this] { work(); });
    work();
    threads.clear();
    return failed_ ? kFailure : 0;
  }

 private:
  void work() {
    for (size_t item; (item = next_++) < options_.references.size();) {
      Clock::time_point begin = Clock::now();
      const std::string& reference = options_.references[item];
      auto result = pull_one(item);
      report(item, reference, result, Clock::now() - begin);
    }
  }

  // Each request carries what its own registry needs, and nothing else. A helper is asked once.
  void find_access(const std::string& reference) {
    auto parsed = oci::Reference::parse(reference);
    std::string host = parsed ? parsed->registry() : reference;
    if (auto known = access_.find(host); known != access_.end()) return;
    access_.emplace(host, access_for(daemon_.context(), options_.registry, {reference}));
  }

  Result<native::PullResult> pull_one(size_t item) {
    const std::string& reference = options_.references[item];
    auto parsed = SKIFF_TRY(oci::Reference::parse(reference));
    native::Access access = SKIFF_TRY(Result<native::Access>(access_.at(parsed.registry())));
    auto result = SKIFF_TRY(
        pull_image(daemon_, make_request(options_, reference, std::move(access)), view_, item));
    if (!options_.trace_file.empty()) SKIFF_TRY(sys::write_file(options_.trace_file, result.trace));
    return result;
  }

  void report(size_t item, const std::string& reference, const Result<native::PullResult>& result,
              std::chrono::nanoseconds took) {
    if (!result) {
      failed_ = true;
      view_.fail(item, result.error().message());
      if (global_.json)
        print_line(json::dump(
            json::Value::object({{"reference", reference}, {"error", result.error().message()}})));
      return;
    }
    bool shown = !global_.json && !options_.quiet;
    view_.finish(item, shown ? describe(familiar(reference), *result, took) : "");
    if (global_.json) print_line(json::dump(to_json(reference, *result, took)));
    if (options_.quiet && !global_.json) print_line(result->image.name);
  }

  const Daemon& daemon_;
  const Global& global_;
  const PullOptions& options_;
  ProgressView view_;
  std::map<std::string, Result<native::Access>> access_;  // by registry; const once work begins
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
};

}  // namespace

Result<native::PullResult> pull_image(const Daemon& daemon, const native::PullRequest& request,
                                      ProgressView& view, size_t item) {
  std::optional<native::PullResult> result;
  SKIFF_TRY(daemon.stream<native::PullEvent>(native::kImagesService, "Pull", request,
                                             [&](native::PullEvent event) {
                                               if (event.progress)
                                                 view.update(item, std::move(*event.progress));
                                               if (event.result) result = std::move(event.result);
                                             }));
  if (!result)
    return fail(Code::kInternal, "pull {}: skiffd ended it without a result", request.reference);
  return *std::move(result);
}

std::string describe(const std::string& reference, const native::PullResult& result,
                     std::chrono::nanoseconds took) {
  std::string digest = std::string(short_digest(result.image.digest));
  if (result.up_to_date) return fmt::format("{}: up to date, {}", reference, digest);
  std::string layers = fmt::format("{} layer{}", result.layers, result.layers == 1 ? "" : "s");
  std::string notes;
  if (result.layers_present > 0) notes += fmt::format("{} were here", result.layers_present);
  if (result.layers_remote > 0)
    notes += fmt::format("{}{} remote", notes.empty() ? "" : ", ", result.layers_remote);
  if (!notes.empty()) layers += " (" + notes + ")";
  return fmt::format("{}: {} fetched, {} in {}, {}", reference, human_bytes(result.fetched_bytes),
                     layers, human_duration(took), digest);
}

Result<int> pull(const Global& global, const PullOptions& options) {
  if (!options.trace_file.empty() && options.references.size() > 1)
    return fail(Code::kInvalidArgument, "--trace takes one image at a time");
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  return Pulls(daemon, global, options).run();
}

Result<int> push(const Global& global, const PushOptions& options) {
  const std::string& target = options.target.empty() ? options.name : options.target;
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  native::PushRequest request;
  request.name = options.name;
  request.target = options.target;
  request.platform = options.platform;
  request.all_platforms = options.all_platforms;
  request.access = SKIFF_TRY(access_for(daemon.context(), options.registry, {target}));
  ProgressView view(ProgressView::style_for(STDOUT_FILENO, global.json || options.quiet),
                    STDOUT_FILENO);
  view.add("push " + familiar(target));
  Clock::time_point begin = Clock::now();
  SKIFF_TRY(daemon.stream<native::PushEvent>(native::kImagesService, "Push", request,
                                             [&](native::PushEvent event) {
                                               if (event.progress)
                                                 view.update(0, std::move(*event.progress));
                                             }));
  auto took = Clock::now() - begin;
  bool shown = !global.json && !options.quiet;
  view.finish(0,
              shown ? fmt::format("{}: pushed in {}", familiar(target), human_duration(took)) : "");
  if (global.json)
    print_json(json::Value::object({{"name", options.name},
                                    {"target", target},
                                    {"seconds", std::chrono::duration<double>(took).count()}}));
  return 0;
}

}  // namespace skiff::cli
