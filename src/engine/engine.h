// Containers: create, start, wait, signal, remove, list, and taking up again what ran before a
// restart. One Engine a daemon, shared by every face. docs/life-of-a-container.md tells the story.
//
// Thread-safe. Operations on one container follow one another; those on different containers never
// wait for each other. Names and ids live in the Context's namespace; an id may be shortened to a
// unique prefix wherever a container is named.
//
// A container outlives the call that made it and the daemon: its shim keeps it running, and
// `recover` finds the shim again by its socket. A crash at any point leaves the container with its
// row, or nothing at all after the next `recover`.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "metadata/rows.h"
#include "sys/fd.h"

namespace skiff::image {
class ImageService;
}
namespace skiff::runtime {
class ShimManager;
}
namespace skiff::snapshot {
class Snapshotter;
}

namespace skiff::engine {

using metadata::Labels;
using metadata::Time;

// --- what a caller asks for -------------------------------------------------------------------
enum class MountType { kBind, kTmpfs };
struct Mount {
  MountType type = MountType::kBind;
  std::string source;  // on the host, absolute; not for tmpfs
  std::string target;  // in the container, absolute
  bool read_only = false;
  bool create_source = false;        // a missing bind source becomes a folder, as with Docker's -v
  std::vector<std::string> options;  // further mount options ("rshared", "size=64m")

  friend bool operator==(const Mount&, const Mount&) = default;
};

enum class Network {
  kNone,  // a namespace of its own with loopback only
  kHost,
};

struct ContainerSpec {
  std::string id;    // empty: 64 random hex digits
  std::string name;  // empty: none; else unique in the namespace
  std::string image;
  std::string snapshotter;  // empty: the daemon's default

  // Unset: the image's. An entrypoint given here drops the image's command too, as Docker does.
  std::optional<std::vector<std::string>> entrypoint;
  std::vector<std::string> command;
  std::vector<std::string> env;  // "K=V" adds or replaces, "K" takes the image's K away
  std::string working_dir;
  std::string user;  // "user[:group]", names or numbers, looked up in the container's own files
  std::vector<std::string> additional_groups;
  std::string hostname;  // empty: the first 12 digits of the id

  bool tty = false;
  bool open_stdin = false;
  bool read_only = false;
  bool privileged = false;
  Network network = Network::kNone;
  std::vector<Mount> mounts;
  std::vector<std::string> cap_add, cap_drop;
  uint64_t memory_bytes = 0;  // 0: no limit, as below
  double cpus = 0;
  int64_t pids_limit = 0;
  std::map<std::string, std::string> sysctls;

  std::string runtime;  // name or path of the OCI runtime; empty: the daemon's
  Labels labels;
  // Removed by the daemon once it has exited, whether or not anybody waits.
  bool auto_remove = false;
};

// The process's ends; an absent one is /dev/null. They are the engine's from the call on. With a
// terminal `in` and `out` are the two sides of the caller's terminal or pipes and the shim copies
// between them and the pty; `err` is unused.
struct Stdio {
  sys::UniqueFd in, out, err;
};

struct TerminalSize {
  uint32_t rows = 0, columns = 0;
};

// --- what it is told --------------------------------------------------------------------------
enum class Phase {
  kCreating,  // never shown: what is being made, so that recovery can undo it
  kCreated,
  kRunning,
  kExited,
  kRemoving,  // never shown either
};
std::string_view phase_name(Phase phase);

struct ExitStatus {
  // As Docker's users know it: the process's own, 128 + n after signal n, 126 when the command
  // could not be run, 127 when it was not found, 125 when the engine failed, 255 when nobody saw
  // the exit (the shim died).
  int code = 0;
  bool oom_killed = false;
  Time time = 0;
  std::string error;  // why it never ran or how it was lost; empty after an ordinary exit

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

struct ContainerInfo {
  std::string id;
  std::string name;
  std::string image;    // as it was asked for, in canonical form
  Digest image_digest;  // of its manifest
  std::string snapshotter;
  std::string runtime;  // "runc", "crun", or a path
  std::vector<std::string> arguments;
  Labels labels;
  bool tty = false;
  bool auto_remove = false;
  Phase phase = Phase::kCreated;
  int pid = 0;  // while it runs, in the daemon's pid namespace
  Time created = 0, started = 0;
  std::optional<ExitStatus> exit;  // of the last run
};

class Engine {
 public:
  struct Parts {
    metadata::Store& store;
    image::ImageService& images;
    runtime::ShimManager& shims;
    // By name; the first is the default. Not owned.
    std::vector<snapshot::Snapshotter*> snapshotters;
    std::string cgroup_parent = "/skiff";
    // Called when a container's snapshot was removed: its files are to be swept. Must not block.
    std::function<void()> files_left;
  };
  static Result<std::unique_ptr<Engine>> create(Parts parts);
  // Running containers go on. Ends its threads; no call may be under way.
  virtual ~Engine() = default;

  // The container and its root file system, durable when this returns. NotFound for the image (it
  // must be unpacked: pull first), AlreadyExists for the name or id, InvalidArgument names the
  // field.
  virtual Result<ContainerInfo> create_container(const Context& context,
                                                 const ContainerSpec& spec) = 0;
  // Returns once the process runs. When the command cannot be run this is no Error: the phase is
  // kExited, exit->code 126 or 127 and exit->error says why. FailedPrecondition when it runs.
  virtual Result<ContainerInfo> start(const Context& context, const std::string& id, Stdio stdio,
                                      TerminalSize size) = 0;
  // create_container and start in one, as fast as can be: the shim starts while the snapshot is
  // prepared. Nothing is left of it when it fails.
  virtual Result<ContainerInfo> run(const Context& context, const ContainerSpec& spec, Stdio stdio,
                                    TerminalSize size) = 0;

  // The exit of the current (or, once it has exited, the last) run. A container with auto_remove
  // has gone from lists and its name is free when this returns; it is cleared away right after. By
  // its full id its exit is known for a minute more.
  virtual Result<ExitStatus> wait(const Context& context, const std::string& id) = 0;
  // The same without a thread: `done` runs once, on a thread of the engine's or at once on this
  // one, and must not block. Calling the returned function takes it back; it may just be running.
  using ExitFn = std::function<void(Result<ExitStatus>)>;
  virtual std::function<void()> when_exited(const Context& context, const std::string& id,
                                            ExitFn done) = 0;
  // FailedPrecondition when it does not run.
  virtual Status kill(const Context& context, const std::string& id, int signal, bool all) = 0;
  virtual Status resize(const Context& context, const std::string& id, TerminalSize size) = 0;
  virtual Status close_stdin(const Context& context, const std::string& id) = 0;
  // FailedPrecondition while it runs, unless `force`, which kills it first.
  virtual Status remove(const Context& context, const std::string& id, bool force) = 0;

  virtual Result<ContainerInfo> get(const Context& context, const std::string& id) = 0;
  // By age, newest first. `all` includes those that do not run.
  virtual Result<std::vector<ContainerInfo>> list(const Context& context, bool all) = 0;

  // Once, before anything else, in every namespace: adopts what runs, reports exits that happened
  // meanwhile, undoes what was half made, removes what was to be removed. A shim that hangs delays
  // neither this nor the others: its container is settled in the background.
  virtual Status recover(const Context& context) = 0;
};

}  // namespace skiff::engine
