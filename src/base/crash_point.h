// Named places where a crash test ends the daemon: each write transaction, rename and syncfs has
// one, by construction, since the wrappers that do these (sys/file.h, metadata/store.h) ask for it.
//
// A point is a constant at namespace scope beside the code that reaches it:
//   const CrashPoint kCommitBlob{"content.blob.commit"};
// It joins the process's list before main, so the daemon can print every point it holds
// (`skiffd crash-points`), and a test walks that list.
//
// SKIFF_CRASH_AT=name:before or name:after ends the process with SIGKILL the first time the step is
// about to run or has just run; name:before:3 the third time. SKIFF_CRASH_TRACE=FILE appends the
// name of each step that is reached. Costs one load when unset.
#pragma once

#include <string>
#include <vector>

namespace skiff {

class CrashPoint {
 public:
  explicit CrashPoint(const char* name);
  CrashPoint(const CrashPoint&) = delete;

  const char* name() const { return name_; }
  void before() const {
    if (armed_) hit(false);
  }
  void after() const {
    if (armed_) hit(true);
  }

  // Every point of this process, sorted by name.
  static std::vector<const CrashPoint*> all();

 private:
  void hit(bool after) const;

  const char* name_;
  const CrashPoint* next_;
  bool armed_ = false;
};

}  // namespace skiff
