#include "metadata/store.h"

#include "metadata/reader_pool.h"
#include "metadata/schema.h"
#include "metadata/sqlite.h"
#include "metadata/writer.h"

namespace skiff::metadata {
namespace {

const CrashPoint kFlush{"metadata.flush"};
const CrashPoint kSyncFolder{"metadata.open"};

class SqliteStore : public Store {
 public:
  SqliteStore(const sys::Path& file, std::string boot_id, std::unique_ptr<Connection> connection,
              uint64_t generation, std::function<void(const Error&)> on_failure)
      : boot_id_(std::move(boot_id)),
        readers_(file),
        writer_(
            std::move(connection), generation, [this] { return readers_.close_idle(); },
            std::move(on_failure)) {}

  // The writer's connection closes last: it then checkpoints and takes the log away.
  ~SqliteStore() override { readers_.close_all(); }

  Status start() { return writer_.start(); }

  Status write(const Context& context, const CrashPoint& point, Durability durability,
               std::function<Status(Transaction&)> fn) override {
    return writer_.submit(context, point, durability, fn);
  }
  Status read(const Context& context, std::function<Status(Reader&)> fn) override {
    Status status = readers_.read(context, fn);
    // The writer has the clock: it closes connections that nobody used for a while.
    writer_.wake_for_idle();
    return status;
  }
  Status flush(const Context& context) override {
    return writer_.submit(context, kFlush, Durability::kDurable, [](Transaction&) { return ok(); });
  }
  uint64_t generation() const override { return writer_.generation(); }
  const std::string& boot_id() const override { return boot_id_; }
  bool failed() const override { return writer_.failed(); }

 private:
  std::string boot_id_;
  ReaderPool readers_;
  Writer writer_;  // after the pool: it ends first
};

// Above every generation that a row carries.
Result<uint64_t> last_generation(Connection& connection) {
  Statement newest(connection, R"(
    SELECT max(coalesce((SELECT max(touched) FROM images), 0),
               coalesce((SELECT max(touched) FROM blob_names), 0),
               coalesce((SELECT max(touched) FROM snapshot_names), 0),
               coalesce((SELECT max(touched) FROM ingests), 0),
               coalesce((SELECT max(touched) FROM leases), 0),
               coalesce((SELECT max(written) FROM blobs), 0),
               coalesce((SELECT max(written) FROM snapshots), 0)))");
  SKIFF_TRY(newest.next());
  return newest.unsigned_integer(0);
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const sys::Path& file, const Options& options) {
  std::string boot_id = options.boot_id;
  if (boot_id.empty()) boot_id = SKIFF_TRY(sys::boot_id());
  auto connection = SKIFF_TRY(Connection::open(file, Connection::Mode::kWriter));
  SKIFF_TRY_WRAP(migrate(*connection), "{}", file.string());
  uint64_t generation = SKIFF_TRY(last_generation(*connection));
  // The names of the database and its log are on disk before anything is said to be; a rollback
  // journal that SQLite had while it made the database must not come back.
  sys::Path folder = file.has_parent_path() ? file.parent_path() : sys::Path(".");
  sys::UniqueFd folder_fd = SKIFF_TRY(sys::open_dir(folder));
  SKIFF_TRY(sys::sync_fd(kSyncFolder, folder_fd.get(), folder));
  auto store = std::make_unique<SqliteStore>(file, std::move(boot_id), std::move(connection),
                                             generation, options.on_failure);
  SKIFF_TRY(store->start());
  return store;
}

}  // namespace skiff::metadata
