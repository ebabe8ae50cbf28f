// save and load: the archive's bytes go between the daemon and the file or pipe themselves; the CLI
// only hands over the descriptor.
#include <fcntl.h>
#include <unistd.h>

#include "bin/skiff/commands.h"
#include "bin/skiff/daemon.h"
#include "bin/skiff/output.h"
#include "bin/skiff/progress_view.h"
#include "bin/skiff/terminal.h"
#include "bin/skiff/text.h"
#include "sys/file.h"

namespace skiff::cli {
namespace {

using namespace native;

const CrashPoint kFinishArchive{"cli.save.rename"};

Result<sys::UniqueFd> duplicate(int fd) {
  sys::UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(errno, "duplicate a descriptor");
  return copy;
}

std::vector<sys::UniqueFd> one(sys::UniqueFd fd) {
  std::vector<sys::UniqueFd> fds;
  fds.push_back(std::move(fd));
  return fds;
}

// A file that is written beside its place and appears there whole, or not at all.
class ArchiveFile {
 public:
  static Result<ArchiveFile> create(const std::string& path) {
    ArchiveFile file;
    if (path.empty()) {
      file.fd_ = SKIFF_TRY(duplicate(STDOUT_FILENO));
      return file;
    }
    auto there = sys::stat_path(path);
    bool special = there && !S_ISREG(there->st_mode);  // /dev/stdout, a named pipe
    file.path_ = path;
    file.written_ = special ? path : path + ".partial";
    int flags = special ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC;
    file.fd_ = SKIFF_TRY(sys::open_file(file.written_, flags, 0644));
    return file;
  }
  ArchiveFile(ArchiveFile&&) = default;
  ~ArchiveFile() {
    if (!done_ && fd_ && written_ != path_) static_cast<void>(sys::remove_file(written_));
  }

  Result<sys::UniqueFd> fd() const { return duplicate(fd_.get()); }
  Status finish() {
    done_ = true;
    return written_ == path_ ? ok() : sys::rename_path(kFinishArchive, written_, path_);
  }

 private:
  ArchiveFile() = default;
  sys::UniqueFd fd_;
  std::string path_, written_;
  bool done_ = false;
};

}  // namespace

Result<int> save(const Global& global, const SaveOptions& options) {
  if (options.file.empty() && is_terminal(STDOUT_FILENO))
    return fail(Code::kInvalidArgument,
                "save would write an archive to the terminal; use --output FILE or a redirection");
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  ArchiveFile file = SKIFF_TRY(ArchiveFile::create(options.file));
  SaveImagesRequest request;
  request.names = options.names;
  request.format = options.oci ? ArchiveFormat::kOci : ArchiveFormat::kDocker;
  request.platform = options.platform;
  auto response = SKIFF_TRY(
      daemon.call<SaveImagesResponse>(kImagesService, "Save", request, one(SKIFF_TRY(file.fd()))));
  SKIFF_TRY(file.finish());
  // Without a file stdout is the archive.
  if (options.file.empty()) return 0;
  if (global.json) {
    print_json(json::Value::object({{"file", options.file}, {"bytes", response.bytes}}));
  } else {
    print_line(fmt::format("{}: {}", options.file, human_bytes(response.bytes)));
  }
  return 0;
}

Result<int> load(const Global& global, const LoadOptions& options) {
  if (options.file.empty() && is_terminal(STDIN_FILENO))
    return fail(Code::kInvalidArgument, "load reads an archive: use --input FILE or a redirection");
  sys::UniqueFd fd = options.file.empty() ? SKIFF_TRY(duplicate(STDIN_FILENO))
                                          : SKIFF_TRY(sys::open_file(options.file, O_RDONLY));
  Daemon daemon = SKIFF_TRY(Daemon::connect(global));
  ProgressView view(ProgressView::style_for(STDOUT_FILENO, global.json || options.quiet),
                    STDOUT_FILENO);
  view.add("load " + (options.file.empty() ? std::string("from stdin") : options.file));
  LoadImagesResult result;
  SKIFF_TRY(daemon.stream<LoadImagesEvent>(
      kImagesService, "Load",
      LoadImagesRequest{options.name, options.platform, options.snapshotter, options.no_unpack},
      [&](LoadImagesEvent event) {
        if (event.progress) view.update(0, std::move(*event.progress));
        if (event.result) result = std::move(*event.result);
      },
      one(std::move(fd))));
  view.finish(0, "");
  json::Value names = json::Value::array();
  for (const Image& image : result.images) {
    names.push_back(json::Value::object({{"name", image.name}, {"digest", image.digest}}));
    if (!global.json)
      print_line((options.quiet ? "" : "loaded ") +
                 (image.name.empty() ? image.digest : familiar(image.name)));
  }
  if (global.json) print_json(names);
  return 0;
}

}  // namespace skiff::cli
