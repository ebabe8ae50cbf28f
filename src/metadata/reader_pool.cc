#include "metadata/reader_pool.h"

#include <algorithm>

#include <sqlite3.h>

namespace skiff::metadata {
namespace {

// A snapshot that lives longer would keep the WAL from being reused.
constexpr auto kLongestRead = std::chrono::seconds(5);
// Virtual machine steps between two looks at the clock: well under a millisecond.
constexpr int kStepsPerCheck = 2000;

// Ends the connection's statement when the context is done.
int check_context(void* context) { return static_cast<const Context*>(context)->check() ? 0 : 1; }

Status run(const Context& context, Connection& connection,
           const std::function<Status(Reader&)>& fn) {
  sqlite3_progress_handler(connection.handle(), kStepsPerCheck, check_context,
                           const_cast<Context*>(&context));
  Status status = connection.run("BEGIN");
  if (status) {
    Reader reader(connection);
    status = fn(reader);
  }
  sqlite3_progress_handler(connection.handle(), 0, nullptr, nullptr);
  if (!sqlite3_get_autocommit(connection.handle())) {
    Status end = connection.run("ROLLBACK");
    if (status) status = end;
  }
  return status;
}

}  // namespace

Status ReaderPool::read(const Context& context, const std::function<Status(Reader&)>& fn) {
  Context bounded = context.with_timeout(kLongestRead);
  std::unique_ptr<Connection> connection = SKIFF_TRY(take(bounded));
  Status status = run(bounded, *connection, fn);
  // A stopped statement says "interrupted"; why it was stopped says more.
  if (!status && status.error().is(Code::kDeadlineExceeded) && !bounded.check()) {
    status = context.check();
    if (status)
      status = fail(Code::kDeadlineExceeded, "reading the metadata took longer than {} s",
                    kLongestRead.count());
  }
  give_back(std::move(connection));
  return status;
}

Result<std::unique_ptr<Connection>> ReaderPool::take(const Context& context) {
  auto state = state_.lock();
  state.wait_until(changed_, context.stop_token(), *context.deadline(),
                   [&] { return !state->idle.empty() || state->open < kMaxReaders; });
  SKIFF_TRY_WRAP(context.check(), "wait for a metadata reader");
  if (!state->idle.empty()) {
    std::unique_ptr<Connection> connection = std::move(state->idle.back().connection);
    state->idle.pop_back();
    return connection;
  }
  state->open++;
  state.unlock();
  auto opened = Connection::open(file_, Connection::Mode::kReader);
  if (!opened) {
    state.relock();
    state->open--;
    changed_.notify_one();
  }
  return opened;
}

void ReaderPool::close_all() {
  while (!state_.lock()->idle.empty()) close_idle();
}

void ReaderPool::give_back(std::unique_ptr<Connection> connection) {
  state_.lock()->idle.push_back({std::move(connection)});
  changed_.notify_one();
}

bool ReaderPool::close_idle() {
  std::vector<Idle> closing;  // closed without the lock
  auto state = state_.lock();
  for (Idle& idle : state->idle)
    if (!std::exchange(idle.used, false)) closing.push_back(std::move(idle));
  std::erase_if(state->idle, [](const Idle& idle) { return idle.connection == nullptr; });
  state->open -= closing.size();
  return state->open > 0;
}

}  // namespace skiff::metadata
