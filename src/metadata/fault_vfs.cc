#include "metadata/fault_vfs.h"

#include <cerrno>
#include <filesystem>
#include <new>

#include <sqlite3.h>

namespace skiff::metadata {
namespace {

FaultVfs* g_vfs = nullptr;

// SQLite allocates szOsFile bytes: this, and behind it the real file.
struct File {
  sqlite3_file base;
  const char* name;  // SQLite keeps it as long as the file is open
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File* file_of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }
sqlite3_file* real(sqlite3_file* file) { return file_of(file)->real(); }

int close_file(sqlite3_file* file) { return real(file)->pMethods->xClose(real(file)); }
int read_file(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  return real(file)->pMethods->xRead(real(file), data, size, offset);
}
int write_file(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  if (int error = g_vfs->write_error) {
    errno = error == SQLITE_FULL ? ENOSPC : EIO;
    return error;
  }
  return real(file)->pMethods->xWrite(real(file), data, size, offset);
}
int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  return real(file)->pMethods->xTruncate(real(file), size);
}
int sync_file(sqlite3_file* file, int flags) {
  if (int error = g_vfs->sync_error) {
    errno = EIO;
    return error;
  }
  g_vfs->syncs++;
  int code = real(file)->pMethods->xSync(real(file), flags);
  if (code == SQLITE_OK && !g_vfs->synced.empty() && file_of(file)->name != nullptr) {
    sys::Path name = file_of(file)->name;
    std::filesystem::copy_file(name, g_vfs->synced / name.filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  return code;
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
  return real(file)->pMethods->xFileSize(real(file), size);
}
int lock(sqlite3_file* file, int level) { return real(file)->pMethods->xLock(real(file), level); }
int unlock(sqlite3_file* file, int level) {
  return real(file)->pMethods->xUnlock(real(file), level);
}
int check_lock(sqlite3_file* file, int* held) {
  return real(file)->pMethods->xCheckReservedLock(real(file), held);
}
int control(sqlite3_file* file, int op, void* argument) {
  return real(file)->pMethods->xFileControl(real(file), op, argument);
}
int sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
int characteristics(sqlite3_file* file) {
  return real(file)->pMethods->xDeviceCharacteristics(real(file));
}
int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
}
int shm_lock(sqlite3_file* file, int offset, int n, int flags) {
  return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}
void shm_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
int shm_unmap(sqlite3_file* file, int remove) {
  return real(file)->pMethods->xShmUnmap(real(file), remove);
}

constexpr sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = unlock,
    .xCheckReservedLock = check_lock,
    .xFileControl = control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
  auto* below = static_cast<sqlite3_vfs*>(vfs->pAppData);
  auto* opened = new (file) File{};
  opened->name = name;
  int code = below->xOpen(below, name, opened->real(), flags, out);
  if (opened->real()->pMethods != nullptr) opened->base.pMethods = &kMethods;
  return code;
}

// Folders are taken to be synced at once, as the store does after it has made its files.
int delete_file(sqlite3_vfs* vfs, const char* name, int sync_folder) {
  auto* below = static_cast<sqlite3_vfs*>(vfs->pAppData);
  if (!g_vfs->synced.empty()) std::filesystem::remove(g_vfs->synced / sys::Path(name).filename());
  return below->xDelete(below, name, sync_folder);
}

}  // namespace

struct FaultVfs::Impl {
  sqlite3_vfs vfs;
};

FaultVfs::FaultVfs() : impl_(std::make_unique<Impl>()) {
  sqlite3_vfs* below = sqlite3_vfs_find(nullptr);
  impl_->vfs = *below;
  impl_->vfs.pNext = nullptr;
  impl_->vfs.zName = "fault";
  impl_->vfs.szOsFile = static_cast<int>(sizeof(File)) + below->szOsFile;
  impl_->vfs.pAppData = below;
  impl_->vfs.xOpen = open_file;
  impl_->vfs.xDelete = delete_file;
  sqlite3_vfs_register(&impl_->vfs, 1);
  g_vfs = this;
}

FaultVfs::~FaultVfs() {
  sqlite3_vfs_register(static_cast<sqlite3_vfs*>(impl_->vfs.pAppData), 1);
  sqlite3_vfs_unregister(&impl_->vfs);
  g_vfs = nullptr;
}

}  // namespace skiff::metadata
