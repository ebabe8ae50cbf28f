// SQLite as the rest of metadata/ sees it: a connection with its cache of prepared statements, and
// a statement that is bound when made and reset when it goes. Internal to this folder.
//
// A connection belongs to one thread at a time.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/digest.h"
#include "base/error.h"
#include "metadata/store.h"
#include "sys/file.h"

struct sqlite3;
struct sqlite3_stmt;

namespace skiff::metadata {

// The text of a statement: a literal, so that its address can key the cache and nothing that came
// from outside can end up in it.
struct Sql {
  consteval Sql(const char* literal) : text(literal) {}
  const char* text;
};

class Connection {
 public:
  enum class Mode { kWriter, kReader };
  // The writer creates the file (mode 0600) when there is none.
  static Result<std::unique_ptr<Connection>> open(const sys::Path& file, Mode mode);
  ~Connection();
  Connection(const Connection&) = delete;

  sqlite3* handle() { return db_; }
  // Runs statements that return nothing one cares for: parsed each time.
  Status exec(const char* sql);
  // Runs one statement from the cache: BEGIN, SAVEPOINT and the like.
  Status run(Sql sql);
  // The first column of the first row of a PRAGMA.
  Result<std::string> pragma(const char* sql);
  // What SQLite's result code means, with its message.
  Error error(int code, std::string_view what);

 private:
  friend class Statement;
  explicit Connection(sys::Path file) : file_(std::move(file)) {}
  Result<sqlite3_stmt*> prepare(const char* sql, bool keep);

  sys::Path file_;
  sqlite3* db_ = nullptr;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

class Statement {
 public:
  template <typename... Args>
  Statement(Reader& reader, Sql sql, const Args&... args)
      : Statement(reader.connection(), sql, args...) {}
  template <typename... Args>
  Statement(Connection& connection, Sql sql, const Args&... args) : connection_(connection) {
    prepare(sql);
    int index = 0;
    (bind(++index, args), ...);
  }
  ~Statement();
  Statement(const Statement&) = delete;

  // True when there is a row; its columns are read from 0 and views live until the next call.
  Result<bool> next();
  // Runs to the end; the number of rows that an INSERT, UPDATE or DELETE changed.
  Result<int64_t> run();
  // next() for statements that ask whether something is there.
  Result<bool> exists() { return next(); }

  bool null(int column) const;
  int64_t integer(int column) const;
  uint64_t unsigned_integer(int column) const { return static_cast<uint64_t>(integer(column)); }
  std::string_view text(int column) const;
  std::string string(int column) const { return std::string(text(column)); }
  // DataLoss where the column holds something else.
  Result<Digest> digest(int column) const;

 private:
  void prepare(Sql sql);
  void bind_integer(int index, int64_t value);
  void bind_text(int index, std::string_view value);
  void bind_null(int index);
  template <std::integral T>
  void bind(int index, T value) {
    bind_integer(index, static_cast<int64_t>(value));
  }
  void bind(int index, std::string_view value) { bind_text(index, value); }
  void bind(int index, const Digest& value) { bind_text(index, value.str()); }
  template <typename T>
  void bind(int index, const std::optional<T>& value) {
    if (value) {
      bind(index, *value);
    } else {
      bind_null(index);
    }
  }

  Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
  bool kept_ = true;
  int failed_ = 0;  // the code of the first call that failed
  std::optional<Error> error_;
};

}  // namespace skiff::metadata
