// Ends a process at every crash point of content/ and snapshot/, before and after the step, in the
// same boot and with a new one; then nothing that was acknowledged may be missing and fsck must be
// clean. The child is this program again (--work).
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include <gtest/gtest.h>

#include "codec/hash.h"
#include "content/local/local_content_store.h"
#include "metadata/gc.h"
#include "snapshot/intent.h"
#include "snapshot/local_snapshotter.h"
#include "snapshot/native/native_driver.h"

namespace skiff {
namespace {

using content::LocalContentStore;
using metadata::Durability;
using snapshot::LocalSnapshotter;

// Of the test itself; not part of the list.
const CrashPoint kSeed{"test.seed"};

struct House {
  std::unique_ptr<metadata::Store> metadata;
  std::unique_ptr<LocalContentStore> content;
  std::unique_ptr<LocalSnapshotter> snapshots;

  static House open(const sys::Path& root, const std::string& boot) {
    House house;
    house.metadata = metadata::Store::open(root / "metadata.db", {.boot_id = boot}).value();
    house.content = LocalContentStore::open(*house.metadata, {.root = root}).value();
    house.snapshots = LocalSnapshotter::open(*house.metadata,
                                             std::make_unique<snapshot::NativeDriver>(root), {root})
                          .value();
    return house;
  }
  Status recover() {
    SKIFF_TRY(content->recover(Context()));
    SKIFF_TRY(snapshots->recover(Context()));
    return sweep();
  }
  Status sweep() {
    return metadata::sweep_tombstones(Context(), *metadata, [&](auto& kind, auto& path) {
      return kind == "snapshot" ? snapshots->remove_files(Context(), kind, path)
                                : content->remove_files(Context(), kind, path);
    });
  }
};

// What the child was told is there, line by line; it outlives the child.
class Acknowledged {
 public:
  explicit Acknowledged(const sys::Path& root) : file_(root / "acknowledged") {}
  Status add(const std::string& what) {
    auto fd = SKIFF_TRY(sys::open_file(file_, O_WRONLY | O_CREAT | O_APPEND));
    return sys::write_fd(fd.get(), as_bytes(what + "\n"));
  }
  bool has(const std::string& what) const {
    auto text = sys::read_file(file_);
    return text && ("\n" + *text).find("\n" + what + "\n") != std::string::npos;
  }

 private:
  sys::Path file_;
};

constexpr std::string_view kKept = "a durable blob";
constexpr std::string_view kRode = "a blob that rode";

Status put(House& house, std::string_view text, Durability durability) {
  Context context;
  auto ingest = SKIFF_TRY(
      house.content->ingest(context, std::string(text), {codec::digest_of(text), text.size()}));
  SKIFF_TRY(ingest->write(as_bytes(text)));
  SKIFF_TRY(ingest->commit(context, {}, {.durability = durability}));
  return ok();
}

Status work_on_content(House& house, Acknowledged& acknowledged) {
  Context context;
  LocalContentStore& store = *house.content;
  {
    SKIFF_TRY(SKIFF_TRY(store.ingest(context, "half", {}))->write(as_bytes("half")));
  }
  SKIFF_TRY(put(house, kKept, Durability::kDurable));
  SKIFF_TRY(acknowledged.add("kept"));
  SKIFF_TRY(put(house, kRode, Durability::kRides));
  SKIFF_TRY(acknowledged.add("rode"));
  SKIFF_TRY(store.update(context, codec::digest_of(kKept), {{"a", "1"}}, {}));
  SKIFF_TRY(acknowledged.add("labelled"));
  SKIFF_TRY(store.share(context.with_namespace("other"), codec::digest_of(kKept), {}));
  {  // a digest that does not hold, and a row that is refused
    auto bad = SKIFF_TRY(store.ingest(context, "bad", {codec::digest_of("other"), 0}));
    SKIFF_TRY(bad->write(as_bytes("bad")));
    (void)bad->commit(context, {}, {});
    auto refused = SKIFF_TRY(store.ingest(context, "refused", {codec::digest_of("r"), 1}));
    SKIFF_TRY(refused->write(as_bytes("r")));
    (void)refused->commit(context, {}, {.labels = {{"key", std::string(5000, 'x')}}});
  }
  SKIFF_TRY(store.abort(context, "refused"));
  SKIFF_TRY(put(house, "removed", Durability::kRides));
  SKIFF_TRY(store.remove(context, codec::digest_of("removed")));
  return house.sweep();
}

Status work_on_snapshots(House& house, Acknowledged& acknowledged) {
  Context context;
  LocalSnapshotter& snapshots = *house.snapshots;
  SKIFF_TRY(snapshots.prepare(context, "writer", "", {}));
  int64_t id = SKIFF_TRY(snapshots.stat(context, "writer")).id;
  SKIFF_TRY(sys::write_file(snapshots.layer_folder(id) / "file", "layer"));
  SKIFF_TRY(snapshots.commit(context, "base", "writer", {}));
  SKIFF_TRY(acknowledged.add("base"));
  SKIFF_TRY(snapshots.prepare(context, "active", "base", {}));
  SKIFF_TRY(acknowledged.add("active"));
  SKIFF_TRY(snapshots.update(context, "base", {{"a", "1"}}, {}));
  (void)snapshots.prepare(context, "refused", "", {{"key", std::string(5000, 'x')}});
  SKIFF_TRY(snapshots.view(context, "view", "base", {}));
  SKIFF_TRY(snapshots.remove(context, "view"));
  return house.sweep();
}

// What only a crash leaves, made by hand, so that recovery itself can be ended in the middle.
Status seed_for_recovery(House& house, const sys::Path& root) {
  Context context;
  SKIFF_TRY(put(house, "torn", Durability::kRides));
  sys::Path torn = root / "content/blobs/sha256" / codec::digest_of("torn").hex();
  SKIFF_TRY(sys::remove_file(torn));
  SKIFF_TRY(sys::write_file(torn, "to"));
  {
    auto gone = SKIFF_TRY(house.content->ingest(context, "gone", {}));
    SKIFF_TRY(gone->write(as_bytes("gone")));
  }
  return house.metadata->write(context, kSeed, Durability::kDurable, [&](auto& txn) -> Status {
    auto row = SKIFF_TRY(metadata::ingests::get(txn, "default", "gone"));
    SKIFF_TRY(sys::remove_file(root / "content/ingest" / row.id));
    SKIFF_TRY(metadata::intents::put(txn, snapshot::kPrepareIntent,
                                     snapshot::intent_body({"native", 5000})));
    return ok();
  });
}

// A whole blob under its final name whose row was never written.
Status seed_renamed(House& house, const sys::Path& root) {
  Context context;
  Digest digest = codec::digest_of("renamed");
  SKIFF_TRY(SKIFF_TRY(house.content->ingest(context, "renamed", {digest, 7}))
                ->write(as_bytes("renamed")));
  return house.metadata->read(context, [&](auto& reader) -> Status {
    auto row = SKIFF_TRY(metadata::ingests::get(reader, "default", "renamed"));
    std::filesystem::rename(root / "content/ingest" / row.id,
                            root / "content/blobs/sha256" / digest.hex());
    return ok();
  });
}

Status work(const sys::Path& root) {
  Acknowledged acknowledged(root);
  {
    SKIFF_TRY(acknowledged.add("boot-1"));
    House house = House::open(root, "boot-1");
    SKIFF_TRY(house.recover());
    SKIFF_TRY(work_on_content(house, acknowledged));
    SKIFF_TRY(work_on_snapshots(house, acknowledged));
    SKIFF_TRY(seed_renamed(house, root));
  }
  {
    House house = House::open(root, "boot-1");
    SKIFF_TRY(house.recover());
    SKIFF_TRY(seed_for_recovery(house, root));
  }
  SKIFF_TRY(acknowledged.add("boot-2"));
  House house = House::open(root, "boot-2");
  return house.recover();
}

// How the child ended, as waitpid(2) says it.
int run_child(const sys::Path& root, const std::string& crash_at) {
  pid_t pid = fork();
  if (pid == 0) {
    if (crash_at.empty())
      unsetenv("SKIFF_CRASH_AT");
    else
      setenv("SKIFF_CRASH_AT", crash_at.c_str(), 1);
    execl("/proc/self/exe", "store_crash_test", "--work", root.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return status;
}

void check_blob(House& house, std::string_view text) {
  auto reader = house.content->open(Context(), codec::digest_of(text));
  ASSERT_TRUE(reader) << text << ": " << reader.error().message();
  auto stream = content::source(*reader);
  EXPECT_EQ(read_all(*stream, 1000).value(), text);
}

void check_house(const sys::Path& root, const std::string& boot) {
  House house = House::open(root, boot);
  Status recovered = house.recover();
  ASSERT_TRUE(recovered) << recovered.error().message();
  for (const auto& findings :
       {house.content->fsck(Context(), true), house.snapshots->fsck(Context())}) {
    ASSERT_TRUE(findings);
    for (const Finding& finding : *findings)
      ADD_FAILURE() << finding.kind << " " << finding.subject << ": " << finding.detail;
  }
  Acknowledged acknowledged(root);
  if (acknowledged.has("kept")) check_blob(house, kKept);
  if (acknowledged.has("rode")) check_blob(house, kRode);
  if (acknowledged.has("labelled")) {
    EXPECT_EQ(house.content->info(Context(), codec::digest_of(kKept))->labels.size(), 1u);
  }
  for (const char* name : {"base", "active"}) {
    if (acknowledged.has(name)) {
      EXPECT_TRUE(house.snapshots->stat(Context(), name)) << name;
    }
  }
  // And work goes on.
  auto again = house.content->ingest(Context(), "afterwards", {});
  ASSERT_TRUE(again);
  ASSERT_TRUE((*again)->write(as_bytes("afterwards")));
  EXPECT_TRUE((*again)->commit(Context(), {}, {}));
  EXPECT_TRUE(house.snapshots->prepare(Context(), "afterwards", "", {}));
}

std::vector<std::string> points() {
  std::vector<std::string> names;
  for (const CrashPoint* point : CrashPoint::all()) {
    std::string_view name = point->name();
    if (name.starts_with("content.") || name.starts_with("snapshot.")) names.emplace_back(name);
  }
  return names;
}

class StoreCrashTest : public ::testing::TestWithParam<std::string> {};

TEST_P(StoreCrashTest, LosesNothingAndLeavesNothing) {
  for (const char* side : {"before", "after"}) {
    for (bool reboot : {false, true}) {
      sys::TempDir root("skiff-crash-");
      SCOPED_TRACE(fmt::format("{}, {}", side, reboot ? "then a reboot" : "in the same boot"));
      int status = run_child(root.path(), GetParam() + ":" + side);
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
          << "the work does not reach " << GetParam();
      bool second = Acknowledged(root.path()).has("boot-2");
      check_house(root.path(), reboot ? "boot-3" : second ? "boot-2" : "boot-1");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Points, StoreCrashTest, ::testing::ValuesIn(points()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace_if(
                               name, [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

TEST(StoreCrashTest, TheWorkItselfSucceeds) {
  sys::TempDir root("skiff-crash-");
  int status = run_child(root.path(), "");
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  check_house(root.path(), "boot-3");
}

}  // namespace
}  // namespace skiff

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "--work") {
    skiff::Status status = skiff::work(argv[2]);
    if (!status) std::cerr << status.error().message() << "\n";
    return status ? 0 : 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
