#include <chrono>
#include <condition_variable>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codec/json/json.h"
#include "engine/engine.h"
#include "engine/record.h"
#include "image/image_service.h"
#include "metadata/store.h"
#include "runtime/fake_shim.h"
#include "snapshot/snapshotter.h"
#include "tests/lib/golden.h"

namespace skiff::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

const CrashPoint kPlant{"test.plant"};

// One image, "busybox", without layers.
class OneImage final : public image::ImageService {
 public:
  Result<image::ImageDetails> inspect(const Context&, const std::string& name,
                                      const oci::Platform&) override {
    if (name != "busybox") return fail(Code::kNotFound, "no image {}", name);
    image::ImageDetails details;
    details.summary.image.name = "docker.io/library/busybox:latest";
    details.config.cmd = {"sh"};
    details.config.env = {"PATH=/bin", "A=image"};
    return details;
  }
  Result<image::PullResult> pull(const Context&, const oci::Reference&, const image::PullOptions&,
                                 const image::ProgressFn&) override {
    return unused();
  }
  Status push(const Context&, const std::string&, const oci::Reference&, const image::PushOptions&,
              const image::ProgressFn&) override {
    return unused();
  }
  Result<std::vector<image::ImageSummary>> list(const Context&,
                                                const std::vector<std::string>&) override {
    return unused();
  }
  Result<image::Image> find(const Context&, const std::string&) override { return unused(); }
  Result<image::Image> tag(const Context&, const std::string&, const oci::Reference&) override {
    return unused();
  }
  Result<image::Removed> remove(const Context&, const std::string&) override { return unused(); }
  Result<Digest> unpack(const Context&, const std::string&, const std::string&,
                        const oci::Platform&) override {
    return unused();
  }
  Status export_archive(const Context&, const std::vector<std::string>&, image::ArchiveFormat,
                        const oci::Platform&, ByteSink&) override {
    return unused();
  }
  Result<std::vector<image::Image>> import_archive(const Context&, ByteSource&,
                                                   const image::ImportOptions&,
                                                   const image::ProgressFn&) override {
    return unused();
  }
  Status recover(const Context&) override { return ok(); }

 private:
  static std::unexpected<Error> unused() { return fail(Code::kUnimplemented, "not faked"); }
};

// Knows which keys are prepared; mounts nothing.
class KeysOnly final : public snapshot::Snapshotter {
 public:
  const std::string& name() const override { return name_; }
  snapshot::Capabilities capabilities() const override { return {}; }
  Result<std::vector<snapshot::Mount>> prepare(const Context&, const std::string& key,
                                               const std::string&,
                                               const snapshot::Labels&) override {
    if (auto error = std::exchange(fail_next, std::nullopt)) return std::unexpected(*error);
    keys.lock()->insert(key);
    return std::vector<snapshot::Mount>();
  }
  Result<std::vector<snapshot::Mount>> mounts(const Context&, const std::string&) override {
    return std::vector<snapshot::Mount>();
  }
  Status remove(const Context&, const std::string& key) override {
    if (keys.lock()->erase(key) == 0) return fail(Code::kNotFound, "no snapshot {}", key);
    return ok();
  }
  Result<snapshot::SnapshotInfo> stat(const Context&, const std::string&) override {
    return unused();
  }
  Result<snapshot::SnapshotInfo> update(const Context&, const std::string&, const snapshot::Labels&,
                                        const snapshot::FieldPaths&) override {
    return unused();
  }
  Result<snapshot::Usage> usage(const Context&, const std::string&) override { return unused(); }
  Result<std::vector<snapshot::Mount>> view(const Context&, const std::string&, const std::string&,
                                            const snapshot::Labels&) override {
    return unused();
  }
  Status commit(const Context&, const std::string&, const std::string&,
                const snapshot::CommitOptions&) override {
    return unused();
  }
  Status walk(const Context&, const std::vector<std::string>&,
              const std::function<Status(const snapshot::SnapshotInfo&)>&) override {
    return unused();
  }

  Guarded<std::set<std::string>> keys;
  std::optional<Error> fail_next;

 private:
  static std::unexpected<Error> unused() { return fail(Code::kUnimplemented, "not faked"); }
  const std::string name_ = "keys";
};

// Counts the durable writes on their way to the real store.
class CountingStore final : public metadata::Store {
 public:
  explicit CountingStore(std::unique_ptr<Store> store) : store_(std::move(store)) {}
  Status write(const Context& context, const CrashPoint& point, metadata::Durability durability,
               std::function<Status(metadata::Transaction&)> fn) override {
    if (durability == metadata::Durability::kDurable) durable++;
    return store_->write(context, point, durability, std::move(fn));
  }
  Status read(const Context& context, std::function<Status(metadata::Reader&)> fn) override {
    return store_->read(context, std::move(fn));
  }
  Status flush(const Context& context) override { return store_->flush(context); }
  uint64_t generation() const override { return store_->generation(); }
  const std::string& boot_id() const override { return store_->boot_id(); }
  bool failed() const override { return store_->failed(); }

  std::atomic<int> durable{0};

 private:
  std::unique_ptr<Store> store_;
};

// Shims that can keep a caller waiting.
class Shims final : public runtime::FakeShims {
 public:
  using FakeShims::FakeShims;
  Result<std::unique_ptr<runtime::Shim>> adopt(const Context& context,
                                               const std::string& id) override {
    {
      auto hanging = hanging_.lock();
      hanging.wait(released_, context.stop_token(), [&] { return *hanging != id; });
    }
    return FakeShims::adopt(context, id);
  }
  void hang(const std::string& id) { *hanging_.lock() = id; }
  void release() {
    hanging_.lock()->clear();
    released_.notify_all();
  }
  void exit(const std::string& id, uint32_t code, uint64_t oom_kills = 0) {
    end({.id = id},
        {.code = code, .time = std::chrono::system_clock::now(), .oom_kills = oom_kills});
  }
  // As a daemon that died left it: a shim whose container runs, or has exited.
  void plant(const std::string& id, std::optional<uint32_t> exit_code) {
    auto shim = launch(Context(), id);
    ASSERT_TRUE(shim);
    ASSERT_TRUE((*shim)->create(Context(), {.id = id, .start = true}, {}));
    if (exit_code) exit(id, *exit_code);
  }

 private:
  Guarded<std::string> hanging_;
  std::condition_variable_any released_;
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : store_(*metadata::Store::open(dir_.path() / "metadata.db", {})) { start_daemon(); }

  void start_daemon() {
    auto engine = Engine::create(
        {.store = store_, .images = images_, .shims = shims_, .snapshotters = {&driver_}});
    engine_ = *std::move(engine);
  }
  // As after kill -9: what the engine knew is gone.
  void restart_daemon() {
    engine_.reset();
    start_daemon();
    ASSERT_TRUE(engine_->recover(context_));
  }
  ContainerSpec spec(std::string id, bool auto_remove = false) {
    return {.id = std::move(id), .image = "busybox", .auto_remove = auto_remove};
  }
  ContainerInfo run(const ContainerSpec& spec) {
    auto info = engine_->run(context_, spec, {}, {});
    EXPECT_TRUE(info) << info.error().message();
    return info.value_or(ContainerInfo());
  }
  void plant_row(Record record) {
    record.name_space = "default";
    record.spec.snapshotter = "keys";
    record.spec.image = "busybox";
    driver_.keys.lock()->insert(record.id);
    ASSERT_TRUE(store_.write(context_, kPlant, metadata::Durability::kRides,
                             [&](metadata::Transaction& txn) {
                               (void)metadata::namespaces::ensure(txn, "default");
                               return metadata::containers::create(txn, "default", to_row(record));
                             }));
  }
  std::vector<std::string> rows() {
    std::vector<std::string> ids;
    EXPECT_TRUE(store_.read(context_, [&](metadata::Reader& reader) -> Status {
      for (auto& row : SKIFF_TRY(metadata::containers::list(reader, "default", {})))
        ids.push_back(row.id);
      return ok();
    }));
    return ids;
  }
  // Until a background task has come that far.
  template <typename Condition>
  void eventually(Condition condition) {
    auto end = std::chrono::steady_clock::now() + 10s;
    bool holds = condition();
    for (; !holds && std::chrono::steady_clock::now() < end; holds = condition())
      std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(holds);
  }
  bool no_bundles() { return shims_.list(context_)->empty(); }
  void expect_nothing_left(const std::string& id) {
    eventually([&] {
      auto known = engine_->get(context_, id);
      return !known && known.error().is(Code::kNotFound) && rows().empty() &&
             driver_.keys.lock()->empty() && no_bundles();
    });
  }

  Context context_ = Context().with_timeout(30s);
  sys::TempDir dir_{"skiff-engine-"};
  CountingStore store_;
  OneImage images_;
  KeysOnly driver_;
  Shims shims_{dir_.path()};
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, RunsAndKeepsTheExit) {
  auto info = run(spec("one"));
  EXPECT_EQ(info.phase, Phase::kRunning);
  EXPECT_GT(info.pid, 0);
  EXPECT_THAT(info.arguments, ElementsAre("sh"));
  shims_.exit("one", 3);
  auto exit = engine_->wait(context_, "one");
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->code, 3);
  EXPECT_EQ(engine_->get(context_, "one")->phase, Phase::kExited);
  EXPECT_EQ(engine_->wait(context_, "one")->code, 3);  // again, at once
  eventually([&] { return no_bundles(); });
  EXPECT_THAT(rows(), ElementsAre("one"));
}

TEST_F(EngineTest, AutoRemoveNeedsNobodyWaiting) {
  run(spec("one", true));
  shims_.exit("one", 0);
  expect_nothing_left("one");
  EXPECT_EQ(engine_->wait(context_, "one")->code, 0);  // still known for a while
}

TEST_F(EngineTest, ANameIsFreeOnceTheExitIsTold) {
  for (int i = 0; i < 20; i++) {
    ContainerSpec named = spec(fmt::format("c{}", i), true);
    named.name = "web";
    run(named);
    shims_.exit(named.id, 0);
    ASSERT_TRUE(engine_->wait(context_, named.id));
  }
}

TEST_F(EngineTest, ATakenNameNamesItsHolder) {
  ContainerSpec first = spec("first");
  first.name = "web";
  run(first);
  ContainerSpec second = spec("second");
  second.name = "web";
  auto refused = engine_->run(context_, second, {}, {});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().is(Code::kAlreadyExists));
  EXPECT_THAT(refused.error().message(), HasSubstr("first"));
}

TEST_F(EngineTest, OomIsPartOfTheFirstStatus) {
  run(spec("one"));
  shims_.exit("one", 137, 1);
  EXPECT_TRUE(engine_->wait(context_, "one")->oom_killed);
}

TEST_F(EngineTest, ACommandThatCannotRunIsAnExitNotAnError) {
  shims_.fail_next("create", Error(Code::kFailedPrecondition,
                                   "exec: \"nope\": executable file not found in $PATH"));
  auto info = run(spec("one"));
  EXPECT_EQ(info.phase, Phase::kExited);
  ASSERT_TRUE(info.exit);
  EXPECT_EQ(info.exit->code, 127);
  EXPECT_THAT(info.exit->error, HasSubstr("nope"));
  EXPECT_TRUE(no_bundles());
  EXPECT_THAT(rows(), ElementsAre("one"));

  shims_.fail_next("create", Error(Code::kFailedPrecondition, "exec: \"nope\": permission denied"));
  EXPECT_EQ(run(spec("two", true)).exit->code, 126);
  EXPECT_THAT(rows(), ElementsAre("one"));
}

TEST_F(EngineTest, AFailedRunLeavesNothing) {
  shims_.fail_next("create", Error(Code::kInternal, "the runtime prints garbage"));
  EXPECT_FALSE(engine_->run(context_, spec("one"), {}, {}));
  expect_nothing_left("one");
  driver_.fail_next = Error(Code::kResourceExhausted, "disk full");
  EXPECT_FALSE(engine_->run(context_, spec("one"), {}, {}));
  expect_nothing_left("one");
  driver_.fail_next = Error(Code::kResourceExhausted, "disk full");
  EXPECT_FALSE(engine_->create_container(context_, spec("one")));
  expect_nothing_left("one");
  EXPECT_FALSE(engine_->run(context_, {.image = "nothere"}, {}, {}));
}

TEST_F(EngineTest, CreateThenStartThenAgain) {
  ASSERT_TRUE(engine_->create_container(context_, spec("one")));
  EXPECT_EQ(engine_->get(context_, "one")->phase, Phase::kCreated);
  for (uint32_t code : {1u, 2u}) {
    ASSERT_TRUE(engine_->start(context_, "one", {}, {}));
    EXPECT_TRUE(engine_->start(context_, "one", {}, {}).error().is(Code::kFailedPrecondition));
    shims_.exit("one", code);
    EXPECT_EQ(engine_->wait(context_, "one")->code, static_cast<int>(code));
  }
}

TEST_F(EngineTest, AtMostTwoDurableCommits) {
  store_.durable = 0;
  ASSERT_TRUE(engine_->create_container(context_, spec("one")));
  ASSERT_TRUE(engine_->start(context_, "one", {}, {}));
  EXPECT_LE(store_.durable, 2);
  store_.durable = 0;
  run(spec("two", true));
  EXPECT_EQ(store_.durable, 0);
}

TEST_F(EngineTest, RemoveAsksForForceWhileItRuns) {
  run(spec("one"));
  EXPECT_TRUE(engine_->remove(context_, "one", false).error().is(Code::kFailedPrecondition));
  EXPECT_TRUE(engine_->remove(context_, "one", true));
  expect_nothing_left("one");
}

TEST_F(EngineTest, AWaiterLearnsOfTheRemoval) {
  ASSERT_TRUE(engine_->create_container(context_, spec("one")));
  std::optional<Result<ExitStatus>> told;
  auto cancel =
      engine_->when_exited(context_, "one", [&](Result<ExitStatus> exit) { told = exit; });
  EXPECT_TRUE(engine_->remove(context_, "one", false));
  ASSERT_TRUE(told);
  EXPECT_TRUE(told->error().is(Code::kNotFound));
}

TEST_F(EngineTest, WaitEndsWithItsContext) {
  run(spec("one"));
  EXPECT_TRUE(engine_->wait(context_.with_timeout(1ms), "one").error().is(Code::kDeadlineExceeded));
}

TEST_F(EngineTest, AShortIdMustBeUnique) {
  run(spec("abc1"));
  run(spec("abd1"));
  EXPECT_EQ(engine_->get(context_, "abc")->id, "abc1");
  EXPECT_TRUE(engine_->get(context_, "ab").error().is(Code::kInvalidArgument));
  EXPECT_TRUE(engine_->get(context_.with_namespace("other"), "abc").error().is(Code::kNotFound));
}

TEST_F(EngineTest, SignalsNeedARunningContainer) {
  ASSERT_TRUE(engine_->create_container(context_, spec("one")));
  EXPECT_TRUE(engine_->kill(context_, "one", SIGTERM, false).error().is(Code::kFailedPrecondition));
  ASSERT_TRUE(engine_->start(context_, "one", {}, {}));
  EXPECT_TRUE(engine_->kill(context_, "one", SIGTERM, false));
  EXPECT_EQ(engine_->wait(context_, "one")->code, 128 + SIGTERM);
}

TEST_F(EngineTest, ALostConnectionIsNoExit) {
  run(spec("one"));
  shims_.disconnect("one");
  shims_.exit("one", 7);
  EXPECT_EQ(engine_->wait(context_, "one")->code, 7);
}

TEST_F(EngineTest, ADeadShimIsAnExitOfUnknownCode) {
  run(spec("one"));
  shims_.kill_shim("one");
  auto exit = engine_->wait(context_, "one");
  EXPECT_EQ(exit->code, 255);
  EXPECT_THAT(exit->error, HasSubstr("shim"));
}

// --- after a restart ---------------------------------------------------------------------------
enum class ShimState { kRuns, kHasExited, kGone };
struct RecoveryCase {
  const char* name;
  Phase stored;
  bool auto_remove;
  ShimState shim;
  std::optional<Phase> then;  // nothing: removed
  int code = 0;
};

class EngineRecovery : public EngineTest, public ::testing::WithParamInterface<RecoveryCase> {};

TEST_P(EngineRecovery, StoredAndRealStateAreReconciled) {
  const RecoveryCase& now = GetParam();
  Record record{.id = "one", .phase = now.stored};
  record.spec.auto_remove = now.auto_remove;
  if (now.stored == Phase::kExited) record.exit = ExitStatus{.code = 5};
  plant_row(record);
  if (now.shim != ShimState::kGone)
    shims_.plant("one", now.shim == ShimState::kHasExited ? std::optional(9u) : std::nullopt);
  restart_daemon();
  if (!now.then) return expect_nothing_left("one");
  eventually([&] { return engine_->get(context_, "one")->phase == *now.then; });
  if (*now.then != Phase::kRunning) eventually([&] { return no_bundles(); });
  if (*now.then == Phase::kExited) {
    EXPECT_EQ(engine_->wait(context_, "one")->code, now.code);
  } else if (*now.then == Phase::kRunning) {
    eventually([&] { return engine_->kill(context_, "one", SIGTERM, false).has_value(); });
    EXPECT_EQ(engine_->wait(context_, "one")->code, 128 + SIGTERM);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EngineRecovery,
    ::testing::Values(
        RecoveryCase{"creating_gone", Phase::kCreating, false, ShimState::kGone, std::nullopt},
        RecoveryCase{"creating_runs", Phase::kCreating, false, ShimState::kRuns, std::nullopt},
        RecoveryCase{"created", Phase::kCreated, false, ShimState::kGone, Phase::kCreated},
        RecoveryCase{"created_auto", Phase::kCreated, true, ShimState::kGone, Phase::kCreated},
        RecoveryCase{"runs", Phase::kRunning, false, ShimState::kRuns, Phase::kRunning},
        RecoveryCase{"runs_auto", Phase::kRunning, true, ShimState::kRuns, Phase::kRunning},
        RecoveryCase{"exited_meanwhile", Phase::kRunning, false, ShimState::kHasExited,
                     Phase::kExited, 9},
        RecoveryCase{"exited_meanwhile_auto", Phase::kRunning, true, ShimState::kHasExited,
                     std::nullopt},
        RecoveryCase{"died_meanwhile", Phase::kRunning, false, ShimState::kGone, Phase::kExited,
                     255},
        RecoveryCase{"died_meanwhile_auto", Phase::kRunning, true, ShimState::kGone, std::nullopt},
        RecoveryCase{"exited", Phase::kExited, false, ShimState::kGone, Phase::kExited, 5},
        RecoveryCase{"exited_uncleared", Phase::kExited, false, ShimState::kHasExited,
                     Phase::kExited, 5},
        RecoveryCase{"created_uncleared", Phase::kCreated, false, ShimState::kHasExited,
                     Phase::kCreated},
        RecoveryCase{"exited_auto", Phase::kExited, true, ShimState::kGone, std::nullopt},
        RecoveryCase{"removing", Phase::kRemoving, false, ShimState::kGone, std::nullopt},
        RecoveryCase{"removing_runs", Phase::kRemoving, false, ShimState::kRuns, std::nullopt}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(EngineTest, AHangingShimDelaysNobodyElse) {
  plant_row({.id = "hangs", .phase = Phase::kRunning});
  plant_row({.id = "runs", .phase = Phase::kRunning});
  shims_.plant("hangs", std::nullopt);
  shims_.plant("runs", std::nullopt);
  shims_.hang("hangs");
  restart_daemon();
  EXPECT_EQ(engine_->list(context_, false)->size(), 2u);
  EXPECT_TRUE(engine_->kill(context_, "runs", SIGKILL, false));
  EXPECT_EQ(engine_->wait(context_, "runs")->code, 128 + SIGKILL);
  shims_.release();
  eventually([&] { return engine_->kill(context_, "hangs", SIGKILL, false).has_value(); });
  EXPECT_EQ(engine_->wait(context_, "hangs")->code, 128 + SIGKILL);
}

TEST_F(EngineTest, AShimWithoutAContainerIsClearedAway) {
  shims_.plant("stray", std::nullopt);
  restart_daemon();
  expect_nothing_left("stray");
}

TEST_F(EngineTest, WhatAContainerIsMadeOfOutlivesADaemon) {
  ContainerSpec full = spec("one");
  full.name = "web";
  full.command = {"echo", "hello"};
  full.env = {"A=mine", "B=2"};
  full.mounts = {{.type = MountType::kTmpfs, .target = "/tmp", .options = {"size=1m"}}};
  full.labels = {{"a", "b"}};
  full.sysctls = {{"net.ipv4.ip_forward", "1"}};
  full.memory_bytes = 1 << 20;
  full.cpus = 0.5;
  full.network = Network::kHost;
  ASSERT_TRUE(engine_->create_container(context_, full));
  auto before = *engine_->get(context_, "one");
  restart_daemon();
  auto after = engine_->get(context_, "web");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->id, "one");
  EXPECT_EQ(after->arguments, before.arguments);
  EXPECT_EQ(after->labels, before.labels);
  EXPECT_EQ(after->created, before.created);
  EXPECT_TRUE(engine_->start(context_, "web", {}, {}));
}

TEST(EngineRecord, EveryFieldComesBack) {
  Record record{
      .name_space = "ns", .id = "id", .image = "i", .runtime = "runc", .arguments = {"a", "b"}};
  record.phase = Phase::kExited;
  record.exit = ExitStatus{.code = 137, .oom_killed = true, .time = 5, .error = "e"};
  record.spec.mounts = {{.source = "/s", .target = "/t", .read_only = true, .options = {"x"}}};
  record.spec.entrypoint = std::vector<std::string>{"/init"};
  record.spec.sysctls = {{"k", "v"}};
  auto back = from_row("ns", to_row(record));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->exit, record.exit);
  EXPECT_EQ(back->phase, record.phase);
  EXPECT_EQ(back->spec.mounts, record.spec.mounts);
  EXPECT_EQ(back->spec.entrypoint, record.spec.entrypoint);
  EXPECT_EQ(back->spec.sysctls, record.spec.sysctls);
  EXPECT_EQ(back->arguments, record.arguments);
}

TEST(EngineRecord, TheStoredFormIsTheGoldenOne) {
  Record record{
      .name_space = "ns", .id = "0123456789ab", .image = "docker.io/library/busybox:latest"};
  record.spec.mounts = {{.source = "/data", .target = "/data", .read_only = true},
                        {.type = MountType::kTmpfs, .target = "/tmp", .options = {"size=1m"}}};
  record.spec.network = Network::kHost;
  record.spec.entrypoint = std::vector<std::string>{"/bin/sh"};
  record.spec.command = {"-c", "exit 137"};
  record.spec.memory_bytes = 64 << 20;
  record.spec.cpus = 0.5;
  record.spec.auto_remove = true;
  record.arguments = {"/bin/sh", "-c", "exit 137"};
  record.env = {"PATH=/bin"};
  record.working_dir = "/";
  record.runtime = "runc";
  record.runtime_program = "/usr/sbin/runc";
  record.phase = Phase::kExited;
  record.started = 1'700'000'000'000'000'000;
  record.exit = ExitStatus{.code = 137, .oom_killed = true, .time = record.started + 5};
  auto row = to_row(record);
  auto pretty = [](const std::string& text) { return json::dump(*json::parse(text), 2) + "\n"; };
  skiff::testing::expect_golden("container_spec.json", pretty(row.spec));
  skiff::testing::expect_golden("container_state.json", pretty(row.state));
}

TEST(EngineRecord, ADamagedRowIsNamed) {
  auto row = to_row({.name_space = "ns", .id = "broken"});
  row.state = "{";
  auto back = from_row("ns", row);
  ASSERT_FALSE(back);
  EXPECT_TRUE(back.error().is(Code::kDataLoss));
  EXPECT_THAT(back.error().message(), HasSubstr("broken"));
}

}  // namespace
}  // namespace skiff::engine
