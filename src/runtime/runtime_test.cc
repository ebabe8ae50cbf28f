#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "oci/descriptor.h"
#include "runtime/bundle.h"
#include "runtime/host_limits.h"
#include "runtime/shim.h"
#include "runtime/spec.h"
#include "runtime/user.h"

namespace skiff::runtime {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class UserTest : public testing::Test {
 protected:
  UserTest() {
    std::filesystem::create_directories(root_ / "etc");
    std::ofstream(root_ / "etc/passwd") << "root:x:0:0:root:/root:/bin/sh\n"
                                           "broken line\n"
                                           "web:x:33:44:Web:/var/www:/bin/sh\n"
                                           "1000:x:5:6::/odd:\n";
    std::ofstream(root_ / "etc/group") << "root:x:0:\nwww:x:44:\nlogs:x:70:web,other\n"
                                          "extra:x:71:web\n";
  }
  sys::TempDir dir_;
  sys::Path root_ = dir_.path() / "root";
};

TEST_F(UserTest, NamesAndNumbersAreResolved) {
  auto web = resolve_user(root_, "web", {});
  ASSERT_TRUE(web);
  EXPECT_EQ(web->uid, 33u);
  EXPECT_EQ(web->gid, 44u);
  EXPECT_EQ(web->home, "/var/www");
  EXPECT_THAT(web->additional_gids, ElementsAre(70, 71));
  EXPECT_EQ(resolve_user(root_, "33", {})->gid, 44u);
  EXPECT_EQ(resolve_user(root_, "", {})->home, "/root");
  EXPECT_EQ(resolve_user(root_, "1000", {})->uid, 5u);  // a name before a number
}

TEST_F(UserTest, NumbersNeedNoEntry) {
  auto user = resolve_user(root_, "4242", {});
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, 4242u);
  EXPECT_EQ(user->gid, 0u);
  EXPECT_EQ(resolve_user(root_ / "nowhere", "7:8", {})->gid, 8u);
}

TEST_F(UserTest, AGroupReplacesTheUsersOwn) {
  auto user = resolve_user(root_, "web:logs", {"extra", "99"});
  ASSERT_TRUE(user);
  EXPECT_EQ(user->gid, 70u);
  EXPECT_THAT(user->additional_gids, ElementsAre(71, 99));
}

TEST_F(UserTest, UnknownNamesAreNamed) {
  EXPECT_THAT(resolve_user(root_, "nobody", {}).error().message(), HasSubstr("nobody"));
  EXPECT_THAT(resolve_user(root_, "web:none", {}).error().message(), HasSubstr("none"));
  EXPECT_FALSE(resolve_user(root_, "-1", {}));
  EXPECT_FALSE(resolve_user(root_, "4294967295", {}));
}

TEST_F(UserTest, LinksDoNotLeadOutOfTheRoot) {
  std::ofstream(dir_.path() / "outside") << "evil:x:0:0::/:\n";
  std::filesystem::remove(root_ / "etc/passwd");
  std::filesystem::create_symlink("../../outside", root_ / "etc/passwd");
  EXPECT_FALSE(resolve_user(root_, "evil", {}));
  std::filesystem::remove(root_ / "etc/passwd");
  // An absolute link means a path inside, as it does for the container.
  std::ofstream(root_ / "real") << "inside:x:9:9::/:\n";
  std::filesystem::create_symlink("/real", root_ / "etc/passwd");
  EXPECT_EQ(resolve_user(root_, "inside", {})->uid, 9u);
}

TEST(Capabilities, AddAndDrop) {
  const auto& base = default_capabilities();
  EXPECT_EQ(base.size(), 14u);
  auto changed = adjust_capabilities(base, {"net_admin"}, {"CAP_CHOWN"});
  ASSERT_TRUE(changed);
  EXPECT_THAT(*changed, Contains("CAP_NET_ADMIN"));
  EXPECT_THAT(*changed, Not(Contains("CAP_CHOWN")));
  EXPECT_THAT(*adjust_capabilities(base, {"CHOWN"}, {"ALL"}), ElementsAre("CAP_CHOWN"));
  auto most = adjust_capabilities(base, {"ALL"}, {"SYS_ADMIN"});
  EXPECT_EQ(most->size(), 40u);
  EXPECT_THAT(adjust_capabilities(base, {"FLY"}, {}).error().message(), HasSubstr("FLY"));
}

std::vector<std::string> allowed_calls(const json::Value& profile) {
  return *(*profile.get_array("syscalls"))->front().get_strings("names");
}

TEST(Seccomp, DeniesWhatTheDefaultsOfTheFieldDeny) {
  auto calls = allowed_calls(default_seccomp(default_capabilities()));
  for (const char* good :
       {"read", "openat", "execve", "futex", "accept4", "chroot", "rseq", "statx"})
    EXPECT_THAT(calls, Contains(good));
  for (const char* bad :
       {"mount", "umount2", "setns", "unshare", "bpf", "reboot", "init_module", "kexec_load",
        "keyctl", "add_key", "request_key", "swapon", "io_uring_setup", "userfaultfd",
        "perf_event_open", "open_by_handle_at", "clone", "clone3"})
    EXPECT_THAT(calls, Not(Contains(bad)));
  std::sort(calls.begin(), calls.end());
  EXPECT_EQ(std::adjacent_find(calls.begin(), calls.end()), calls.end())
      << "a call is listed twice";
}

TEST(Seccomp, CapabilitiesBringTheirCalls) {
  auto calls = allowed_calls(default_seccomp({"CAP_SYS_ADMIN", "CAP_SYS_BOOT"}));
  for (const char* good : {"mount", "setns", "clone", "clone3", "reboot"})
    EXPECT_THAT(calls, Contains(good));
  EXPECT_THAT(calls, Not(Contains("chroot")));
}

class SpecTest : public testing::Test {
 protected:
  SpecTest() {
    options_.id = "c1";
    options_.rootfs = dir_.path();
    options_.args = {"sh"};
    options_.hostname = "box";
  }
  json::Value make() {
    auto spec = make_spec(options_);
    EXPECT_TRUE(spec) << spec.error().message();
    return spec ? spec->config : json::Value();
  }
  void refused(std::string_view part) {
    auto spec = make_spec(options_);
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().code(), Code::kInvalidArgument);
    EXPECT_THAT(spec.error().message(), HasSubstr(part));
  }
  std::vector<std::string> env() { return *make().find({"process"})->get_strings("env"); }
  std::vector<std::string> namespaces() {
    std::vector<std::string> types;
    json::Value spec = make();
    for (const auto& one : **spec.find({"linux", "namespaces"})->as_array())
      types.push_back(*one.get_string("type"));
    return types;
  }

  sys::TempDir dir_;
  SpecOptions options_;
};

TEST_F(SpecTest, HasTheDefaultsThatUsersExpect) {
  json::Value spec = make();
  EXPECT_EQ(*spec.get_string("hostname"), "box");
  EXPECT_EQ(*spec.find({"root"})->get_string("path"), dir_.path());
  EXPECT_THAT(namespaces(), testing::IsSupersetOf({"mount", "pid", "ipc", "uts", "network"}));
  EXPECT_THAT(*spec.find({"linux"})->get_strings("maskedPaths"), Contains("/proc/kcore"));
  EXPECT_THAT(*spec.find({"linux"})->get_strings("readonlyPaths"), Contains("/proc/sys"));
  EXPECT_TRUE(spec.find({"linux", "seccomp"}));
  EXPECT_THAT(env(), testing::IsSupersetOf({"HOSTNAME=box", "HOME=/"}));
}

TEST_F(SpecTest, WhatTheUserSetsStays) {
  options_.env = {"PATH=/mine", "HOME=/home", "EMPTY="};
  options_.terminal = true;
  EXPECT_THAT(env(), testing::UnorderedElementsAre("PATH=/mine", "HOME=/home",
                                                   "EMPTY=", "HOSTNAME=box", "TERM=xterm"));
}

TEST_F(SpecTest, OthersThanRootStartWithoutEffectiveCapabilities) {
  options_.user = "1000:1000";
  json::Value spec = make();
  EXPECT_TRUE(spec.find({"process", "capabilities", "bounding"}));
  EXPECT_FALSE(spec.find({"process", "capabilities", "effective"}));
}

TEST_F(SpecTest, LimitsBecomeResources) {
  options_.memory_bytes = 64 << 20;
  options_.cpus = 1.5;
  options_.pids_limit = 10;
  json::Value spec = make();
  EXPECT_EQ(*spec.find({"linux", "resources", "memory"})->get_int("limit"), 64 << 20);
  EXPECT_EQ(*spec.find({"linux", "resources", "cpu"})->get_int("quota"), 150'000);
  EXPECT_EQ(*spec.find({"linux", "resources", "pids"})->get_int("limit"), 10);
}

TEST_F(SpecTest, HostNamespacesAreLeftOut) {
  options_.network = NetworkMode::kHost;
  options_.host_pid = options_.host_ipc = options_.host_uts = true;
  auto types = namespaces();
  for (const char* type : {"network", "pid", "ipc", "uts"}) EXPECT_THAT(types, Not(Contains(type)));
}

TEST_F(SpecTest, PrivilegedHidesNothing) {
  options_.privileged = true;
  json::Value spec = make();
  EXPECT_FALSE(spec.find({"linux", "maskedPaths"}));
  EXPECT_FALSE(spec.find({"linux", "seccomp"}));
  EXPECT_THAT(*spec.find({"process", "capabilities"})->get_strings("bounding"),
              testing::ElementsAreArray(HostLimits::here().capabilities));
}

TEST_F(SpecTest, BadValuesAreNamed) {
  auto with = [&](auto change, std::string_view part) {
    SpecOptions good = options_;
    change();
    refused(part);
    options_ = good;
  };
  with([&] { options_.args.clear(); }, "command");
  with([&] { options_.cwd = "relative"; }, "relative");
  with([&] { options_.env = {"NOVALUE"}; }, "NOVALUE");
  with([&] { options_.user = "nobody-here"; }, "nobody-here");
  with([&] { options_.cap_add = {"WINGS"}; }, "WINGS");
  with([&] { options_.mounts = {{"bind", "/tmp", "mnt", {}}}; }, "mnt");
  with([&] { options_.rlimits = {{"RLIMIT_JOY", 1, 1}}; }, "RLIMIT_JOY");
  with([&] { options_.rlimits = {{"RLIMIT_NOFILE", 2, 1}}; }, "RLIMIT_NOFILE");
  with([&] { options_.cpus = -1; }, "cpus");
  with([&] { options_.hostname = std::string(65, 'h'); }, "hostname");
  with([&] { options_.devices = {{"/etc/hostname", "", "rwm"}}; }, "/etc/hostname");
}

TEST(HostLimits, WhatCannotBeGivenIsClampedAndSaid) {
  HostLimits host{{"CAP_CHOWN"}, false, 100, false};
  std::vector<std::string> warnings;
  auto limit = clamp_rlimit(host, {"RLIMIT_NOFILE", 1ull << 40, 1ull << 41}, warnings);
  ASSERT_TRUE(limit);
  EXPECT_LT(limit->hard, 1ull << 41);
  EXPECT_LE(limit->soft, limit->hard);
  EXPECT_EQ(clamp_oom_score(host, -500, warnings), 100);
  EXPECT_EQ(clamp_oom_score(host, 500, warnings), 500);
  EXPECT_THAT(clamp_capabilities(host, {"CAP_CHOWN", "CAP_KILL"}, warnings),
              ElementsAre("CAP_CHOWN"));
  EXPECT_EQ(warnings.size(), 3u);
  EXPECT_EQ(clamp_oom_score(host, {}, warnings), 100);
  EXPECT_EQ(warnings.size(), 3u);  // a default that cannot be kept is no news
}

TEST(ApplyImage, EntrypointAndCommandCombineAsInDocker) {
  oci::ImageConfig image;
  image.entrypoint = {"/entry"};
  image.cmd = {"default"};
  image.env = {"A=1", "B=2", "AB=3"};
  image.working_dir = "/work";
  image.user = "web";
  auto args = [&](ProcessOverrides overrides) {
    SpecOptions options;
    EXPECT_TRUE(apply_image(image, overrides, options));
    return options;
  };
  EXPECT_THAT(args({}).args, ElementsAre("/entry", "default"));
  EXPECT_THAT(args({.command = {"x"}}).args, ElementsAre("/entry", "x"));
  EXPECT_THAT(args({.entrypoint = {{"/mine"}}}).args, ElementsAre("/mine"));
  auto options = args({.env = {"A=9", "B"}, .user = "root"});
  EXPECT_THAT(options.env, ElementsAre("AB=3", "A=9"));
  EXPECT_EQ(options.user, "root");
  EXPECT_EQ(options.cwd, "/work");
  SpecOptions none;
  EXPECT_FALSE(apply_image(oci::ImageConfig{}, {}, none));
}

TEST(FailureCodes, FollowTheRuntimesWords) {
  auto code = [](const char* words) {
    return exit_code_of_failure(Error(Code::kFailedPrecondition, words));
  };
  EXPECT_EQ(
      code("unable to start container process: exec: \"x\": executable file not found in $PATH"),
      127);
  EXPECT_EQ(code("exec: \"/x\": stat /x: no such file or directory"), 127);
  EXPECT_EQ(code("executable file `x` not found in $PATH: No such file or directory"), 127);
  EXPECT_EQ(code("exec: \"/x\": permission denied"), 126);
  EXPECT_EQ(code("error mounting \"/y\" to rootfs: no such file or directory"), 125);
}

TEST(BundleTest, IdsAreFileNames) {
  EXPECT_TRUE(check_id("a1_b.c-d"));
  for (const char* bad : {"", ".", "..", "-a", "a/b", "a b", "a\n"})
    EXPECT_FALSE(check_id(bad)) << bad;
  EXPECT_FALSE(check_id(std::string(129, 'a')));
  EXPECT_FALSE(check_id(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace skiff::runtime
