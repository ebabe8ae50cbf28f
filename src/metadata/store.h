// The one database: SQLite in WAL mode below <root>/metadata.db.
//
// Writes: one thread owns the writing connection, takes the waiting transactions as a group, runs
// each in a savepoint, and commits the group once. A durable write returns after the group is on
// disk; one that rides returns once it is in the group's commit order and is on disk with the next
// durable group at the latest a second later. A failed transaction fails alone.
// Reads: read-only connections, a snapshot each, at most 5 s long (a long one pins the WAL).
//
// No files, mounts or network inside a transaction: `fn` runs on the writer's thread.
// Thread-safe. Errors: NotFound and AlreadyExists come from the row functions; DataLoss for a
// damaged database; ResourceExhausted for a full disk (nothing of the group is then visible).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/context.h"
#include "base/crash_point.h"
#include "sys/file.h"

struct sqlite3;

namespace skiff::metadata {

enum class Durability {
  kDurable,  // on disk before the call returns: what a user was told exists
  kRides,    // progress, usage, what can be fetched again
};

// One prepared statement, run once; columns are read in order from 0. Made by Reader::query.
class Statement;

// A consistent view for reading. Lives inside Store::read or Store::write only.
class Reader {
 public:
  explicit Reader(class Connection& connection) : connection_(connection) {}
  Connection& connection() { return connection_; }

 private:
  Connection& connection_;
};

// A view that may write too.
class Transaction : public Reader {
 public:
  using Reader::Reader;
  // The store's write generation as of this transaction; rows that GC must not take are stamped
  // with it ("touched", gc.h).
  uint64_t generation() const { return generation_; }

 private:
  friend class Store;
  uint64_t generation_ = 0;
};

class Store {
 public:
  struct Options {
    // Tests only: the current boot's id instead of the kernel's.
    std::string boot_id;
  };

  // Opens or creates; runs the migrations. FailedPrecondition when the schema is newer than this
  // build knows.
  static Result<std::unique_ptr<Store>> open(const sys::Path& file, const Options& options);
  virtual ~Store() = default;

  // `point` names the transaction for crash tests: before() and after() its commit.
  virtual Status write(const Context& context, const CrashPoint& point, Durability durability,
                       std::function<Status(Transaction&)> fn) = 0;
  virtual Status read(const Context& context, std::function<Status(Reader&)> fn) = 0;
  // Returns when everything acknowledged so far is on disk.
  virtual Status flush(const Context& context) = 0;

  // This boot's id, as rows carry it.
  virtual const std::string& boot_id() const = 0;
  // Set once when the writer cannot go on (I/O error): the daemon then stops in order.
  virtual bool failed() const = 0;
};

}  // namespace skiff::metadata
