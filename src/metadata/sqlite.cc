#include "metadata/sqlite.h"

#include <cerrno>
#include <mutex>

#include <fcntl.h>
#include <sqlite3.h>

namespace skiff::metadata {
namespace {

// Pages kept in memory by a connection, in KiB: a small daemon's memory, a database that the page
// cache of the kernel holds anyway.
constexpr char kWriterPragmas[] =
    "PRAGMA cache_size=-1024;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA secure_delete=OFF;"     // Debian's default zeroes what is deleted: twice the pages
    "PRAGMA wal_autocheckpoint=0;"  // the writer checkpoints between groups (store.cc)
    "PRAGMA journal_size_limit=16777216;"
    // Commits do not sync; the writer syncs the WAL itself, once for all who need it (store.cc).
    "PRAGMA synchronous=NORMAL;"
    "PRAGMA mmap_size=0;";
constexpr char kReaderPragmas[] =
    "PRAGMA cache_size=-512;"
    "PRAGMA mmap_size=0;";
constexpr int kBusyMilliseconds = 5000;

void configure_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Its statistics cost a lock around each allocation.
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_initialize();
  });
}

Code code_of(int code, int sys_errno) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_NOMEM: return Code::kResourceExhausted;
    case SQLITE_IOERR:
      return sys_errno == ENOSPC || sys_errno == EDQUOT ? Code::kResourceExhausted
                                                        : Code::kDataLoss;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return Code::kDataLoss;
    case SQLITE_CONSTRAINT:
      return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY
                 ? Code::kAlreadyExists
                 : Code::kFailedPrecondition;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return Code::kUnavailable;
    case SQLITE_INTERRUPT: return Code::kDeadlineExceeded;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return Code::kPermissionDenied;
    case SQLITE_CANTOPEN:
      return sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOSPC
                 ? Code::kResourceExhausted
                 : Code::kUnavailable;
    case SQLITE_TOOBIG: return Code::kInvalidArgument;
    default: return Code::kInternal;
  }
}

}  // namespace

Error Connection::error(int code, std::string_view what) {
  int sys_errno = db_ != nullptr ? sqlite3_system_errno(db_) : 0;
  const char* text = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  Code meaning = code_of(code, sys_errno);
  // SQLite keeps the last errno around; it explains this error only where the OS was at fault.
  bool from_os = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_FULL ||
                 (code & 0xff) == SQLITE_CANTOPEN;
  std::string message = fmt::format("{} ({}): {}", what, file_.string(), text);
  if (meaning == Code::kDataLoss)
    message +=
        "; the database is damaged or its disk fails: run skiff fsck, look at the kernel's log";
  if (from_os && sys_errno != 0) return errno_error(sys_errno, message).with_code(meaning);
  return Error(meaning, std::move(message));
}

Result<std::unique_ptr<Connection>> Connection::open(const sys::Path& file, Mode mode) {
  configure_library();
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (mode == Mode::kWriter) {
    // Made here for its mode, which SQLite then gives to the WAL too. Closed before SQLite opens
    // it: closing a file drops the locks that this process has on it.
    SKIFF_TRY(sys::open_file(file, O_RDWR | O_CREAT, 0600));
    flags |= SQLITE_OPEN_READWRITE;
  } else {
    flags |= SQLITE_OPEN_READONLY;
  }
  std::unique_ptr<Connection> connection(new Connection(file));
  int code = sqlite3_open_v2(file.c_str(), &connection->db_, flags, nullptr);
  if (code != SQLITE_OK) return std::unexpected(connection->error(code, "open metadata"));
  sqlite3_busy_timeout(connection->db_, kBusyMilliseconds);
  if (mode == Mode::kWriter) {
    std::string journal = SKIFF_TRY(connection->pragma("PRAGMA journal_mode=WAL"));
    if (journal != "wal")
      return fail(Code::kFailedPrecondition,
                  "open metadata ({}): the file system cannot carry a write-ahead log (got {})",
                  file.string(), journal);
  }
  SKIFF_TRY(connection->exec(mode == Mode::kWriter ? kWriterPragmas : kReaderPragmas));
  return connection;
}

Connection::~Connection() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

Status Connection::exec(const char* sql) {
  int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error(code, "metadata"));
  return ok();
}

Status Connection::run(Sql sql) {
  SKIFF_TRY(Statement(*this, sql).run());
  return ok();
}

Result<std::string> Connection::pragma(const char* sql) {
  sqlite3_stmt* statement = SKIFF_TRY(prepare(sql, false));
  int code = sqlite3_step(statement);
  std::string value;
  if (code == SQLITE_ROW)
    if (auto* text = sqlite3_column_text(statement, 0)) value = reinterpret_cast<const char*>(text);
  code = sqlite3_finalize(statement);
  if (code != SQLITE_OK) return std::unexpected(error(code, "metadata"));
  return value;
}

Result<sqlite3_stmt*> Connection::prepare(const char* sql, bool keep) {
  sqlite3_stmt* statement = nullptr;
  int code =
      sqlite3_prepare_v3(db_, sql, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &statement, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error(code, "metadata"));
  return statement;
}

void Statement::prepare(Sql sql) {
  auto& cache = connection_.statements_;
  auto found = cache.find(sql.text);
  if (found != cache.end() && !sqlite3_stmt_busy(found->second)) {
    statement_ = found->second;
    return;
  }
  kept_ = found == cache.end();  // else in use further up the stack: one for this time
  auto prepared = connection_.prepare(sql.text, kept_);
  if (!prepared) {
    error_ = std::move(prepared).error();
    return;
  }
  statement_ = *prepared;
  if (kept_) cache.emplace(sql.text, statement_);
}

Statement::~Statement() {
  if (statement_ == nullptr) return;
  if (kept_) {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  } else {
    sqlite3_finalize(statement_);
  }
}

void Statement::bind_integer(int index, int64_t value) {
  if (statement_ == nullptr) return;
  if (int code = sqlite3_bind_int64(statement_, index, value); failed_ == 0) failed_ = code;
}

void Statement::bind_text(int index, std::string_view value) {
  if (statement_ == nullptr) return;
  int code = sqlite3_bind_text64(statement_, index, value.data() != nullptr ? value.data() : "",
                                 value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (failed_ == 0) failed_ = code;
}

void Statement::bind_null(int index) {
  if (statement_ == nullptr) return;
  if (int code = sqlite3_bind_null(statement_, index); failed_ == 0) failed_ = code;
}

Result<bool> Statement::next() {
  if (error_) return std::unexpected(*error_);
  if (failed_ != SQLITE_OK) return std::unexpected(connection_.error(failed_, "metadata"));
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return std::unexpected(connection_.error(code, "metadata"));
}

Result<int64_t> Statement::run() {
  while (SKIFF_TRY(next())) {
  }
  return sqlite3_changes64(connection_.db_);
}

bool Statement::null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

Result<Digest> Statement::digest(int column) const {
  auto parsed = Digest::parse(text(column));
  if (!parsed)
    return std::unexpected(
        std::move(parsed).error().wrap("metadata: a row is damaged").with_code(Code::kDataLoss));
  return parsed;
}

std::string_view Statement::text(int column) const {
  auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

}  // namespace skiff::metadata
