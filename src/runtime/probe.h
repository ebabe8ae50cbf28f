// Which OCI runtime works here: found by doing (a container is created, run and deleted), not by
// version. crun, for one, refuses some hybrid cgroup hosts.
#pragma once

#include <string>
#include <vector>

#include "base/context.h"
#include "sys/file.h"

namespace skiff::runtime {

struct RuntimeInfo {
  std::string name;     // "runc"
  std::string program;  // "/usr/sbin/runc"
  std::string reason;   // why it was chosen or refused, for people
  bool works = false;
};

// The trial of one program: runs a container whose root holds nothing but a static program (the
// shim's own). Takes some tens of milliseconds. `scratch` is a folder for it to use and clean up.
RuntimeInfo try_runtime(const Context& context, const std::string& program,
                        const sys::Path& probe_binary, const sys::Path& scratch);

// The first of runc and crun (or the one `wanted`, a name or path) that works. What was found
// stands in `cache` with the program's identity (path, size, times, boot id), so a later start of
// the daemon tries nothing; the choice and its reason are logged. NotFound names all that was
// tried.
Result<RuntimeInfo> choose_runtime(const Context& context, const std::string& wanted,
                                   const sys::Path& probe_binary, const sys::Path& cache);

// The program's path by $PATH and the sbin folders; empty when there is none.
std::string find_program(const std::string& name);

}  // namespace skiff::runtime
