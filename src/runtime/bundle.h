// A container's bundle: the folder that the OCI runtime reads, and where our shim keeps what
// belongs to this run. It lives in the state folder and ends with the boot.
//
//   <state>/bundles/<namespace>/<id>/config.json   the OCI runtime spec
//                                    rootfs/       where the root file system is mounted
//                                    shim.sock     the shim's socket
//                                    shim.pid      its pid, start time and version
//                                    shim.log      its log
//                                    runtime       the OCI runtime's program, for clearing away
#pragma once

#include <string>

#include "base/error.h"
#include "codec/json/json.h"
#include "sys/file.h"

namespace skiff::runtime {

class Bundle {
 public:
  Bundle(sys::Path folder, std::string id) : folder_(std::move(folder)), id_(std::move(id)) {}

  const sys::Path& folder() const { return folder_; }
  const std::string& id() const { return id_; }
  sys::Path config() const { return folder_ / "config.json"; }
  sys::Path rootfs() const { return folder_ / "rootfs"; }
  sys::Path socket() const { return folder_ / "shim.sock"; }
  sys::Path shim_pid() const { return folder_ / "shim.pid"; }
  sys::Path shim_log() const { return folder_ / "shim.log"; }
  sys::Path runtime_file() const { return folder_ / "runtime"; }

  // The folder and rootfs/, mode 0711. An existing one is no error.
  Status make() const;
  // Replaces config.json. No sync: it ends with the boot.
  Status write_config(const json::Value& spec) const;
  // The folder with all in it. FailedPrecondition while something is mounted on rootfs/.
  Status remove() const;

 private:
  sys::Path folder_;
  std::string id_;
};

// A container's id as a file name: 1 to 128 of [a-zA-Z0-9_.-], the first of them a letter or digit.
Status check_id(std::string_view id);

}  // namespace skiff::runtime
