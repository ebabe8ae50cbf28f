// The one database: SQLite in WAL mode below <root>/metadata.db.
//
// Writes: one thread owns the writing connection, takes the waiting transactions as a group, runs
// each in a savepoint, commits the group once and syncs once for all of it. A durable write returns
// after the sync; one that rides returns once the group is committed (every read from then on sees
// it) and is on disk with the next durable group, at the latest a second later. A transaction whose
// function fails leaves nothing and fails alone. Reads may see a durable write a moment before its
// sync; nobody has been told of it then.
// Reads: read-only connections, a snapshot each, at most 5 s long (a long one pins the WAL).
//
// No files, mounts or network inside a transaction: `fn` runs on the writer's thread, and must not
// call the store. Thread-safe. Errors: NotFound and AlreadyExists come from the row functions;
// DataLoss for a damaged database or a disk that fails (see failed()); ResourceExhausted for a full
// disk: nothing of the group is then visible, and the next write may succeed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/context.h"
#include "base/crash_point.h"
#include "sys/file.h"

namespace skiff::metadata {

class Connection;  // sqlite.h

enum class Durability {
  kDurable,  // on disk before the call returns: what a user was told exists
  kRides,    // progress, usage, what can be fetched again
};

// A consistent view for reading. Lives inside Store::read or Store::write only.
class Reader {
 public:
  explicit Reader(Connection& connection) : connection_(connection) {}
  Reader(const Reader&) = delete;
  Connection& connection() { return connection_; }

 private:
  Connection& connection_;
};

// A view that may write too.
class Transaction : public Reader {
 public:
  Transaction(Connection& connection, uint64_t generation)
      : Reader(connection), generation_(generation) {}
  // This transaction's number, higher than that of every earlier one in the life of the database;
  // rows that GC must not take are stamped with it ("touched", gc.h).
  uint64_t generation() const { return generation_; }

 private:
  uint64_t generation_;
};

class Store {
 public:
  struct Options {
    // Tests only: the current boot's id instead of the kernel's.
    std::string boot_id;
    // Called once, on the writer's thread, when failed() has turned true. Must not block.
    std::function<void(const Error&)> on_failure;
  };

  // Opens or creates; runs the migrations. FailedPrecondition when the schema is newer than this
  // build knows or the file is no database of skiff's, DataLoss when it is damaged.
  static Result<std::unique_ptr<Store>> open(const sys::Path& file, const Options& options);
  // Ends the writer once all that was accepted is on disk. No call may be under way.
  virtual ~Store() = default;

  // `point` names the transaction for crash tests: before() and after() its group's commit (with
  // its sync, where it is durable). The context's stop and deadline count until `fn` begins.
  virtual Status write(const Context& context, const CrashPoint& point, Durability durability,
                       std::function<Status(Transaction&)> fn) = 0;
  // `fn` may use the reader until it returns. DeadlineExceeded after 5 s or the context's deadline.
  virtual Status read(const Context& context, std::function<Status(Reader&)> fn) = 0;
  // Returns when everything acknowledged so far is on disk.
  virtual Status flush(const Context& context) = 0;

  // The number of the last committed transaction: a read that begins now sees all up to it.
  virtual uint64_t generation() const = 0;
  // This boot's id, as rows carry it.
  virtual const std::string& boot_id() const = 0;
  // Set once when the writer cannot go on (I/O error): the daemon then stops in order.
  virtual bool failed() const = 0;
};

}  // namespace skiff::metadata
