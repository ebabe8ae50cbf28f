// Read-only connections, opened as readers come and closed when idle. Internal to this folder.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <vector>

#include "base/context.h"
#include "base/guarded.h"
#include "metadata/sqlite.h"

namespace skiff::metadata {

class ReaderPool {
 public:
  explicit ReaderPool(sys::Path file) : file_(std::move(file)) {}

  // Runs `fn` on one snapshot of the database. Waits when kMaxReaders are at work.
  Status read(const Context& context, const std::function<Status(Reader&)>& fn);
  // Closes connections that were not used since the last call. True while some are left.
  bool close_idle();
  // No read may be under way.
  void close_all();

 private:
  static constexpr size_t kMaxReaders = 8;
  struct Idle {
    std::unique_ptr<Connection> connection;
    bool used = true;  // since the last close_idle
  };
  struct State {
    std::vector<Idle> idle;  // the last used at the back
    size_t open = 0;         // idle or at work
  };

  Result<std::unique_ptr<Connection>> take(const Context& context);
  void give_back(std::unique_ptr<Connection> connection);

  sys::Path file_;
  Guarded<State> state_;
  std::condition_variable_any changed_;
};

}  // namespace skiff::metadata
