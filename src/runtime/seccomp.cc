// The default seccomp profile. What is allowed follows the public profiles of Docker and
// containerd, so that what runs there runs here; it is grouped here by what the calls are for.
#include <algorithm>

#include "runtime/spec.h"

namespace skiff::runtime {
namespace {

constexpr const char* kFiles =
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
    "faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown "
    "fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr "
    "fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd "
    "getdents getdents64 getxattr getxattrat ioctl lchown lchown32 lgetxattr link linkat listxattr "
    "listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod "
    "mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 "
    "pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename "
    "renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs "
    "statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask "
    "unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev";
constexpr const char* kWatching =
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
    "epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 "
    "inotify_rm_watch _newselect pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 "
    "select "
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit";
constexpr const char* kMemory =
    "brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 "
    "mlockall "
    "mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free "
    "pkey_mprotect remap_file_pages cachestat process_mrelease";
constexpr const char* kProcesses =
    "alarm capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 "
    "futex_wait futex_waitv futex_wake getegid getegid32 geteuid geteuid32 getgid getgid32 "
    "getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 "
    "getresuid getresuid32 getrlimit get_robust_list getrusage getsid get_thread_area gettid "
    "getuid "
    "getuid32 ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset "
    "landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall "
    "riscv_hwprobe rseq seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups "
    "setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid "
    "setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid set_thread_area "
    "set_tid_address setuid setuid32 tgkill tkill ugetrlimit vfork wait4 waitid waitpid getcpu "
    "getrandom sysinfo uname process_vm_readv process_vm_writev ptrace";
constexpr const char* kSignals =
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 "
    "sigprocmask sigreturn";
constexpr const char* kScheduling =
    "sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min "
    "sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity "
    "sched_setattr sched_setparam sched_setscheduler sched_yield";
constexpr const char* kTime =
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep "
    "setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
    "timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
    "timerfd_settime "
    "timerfd_settime64 times";
constexpr const char* kSockets =
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall "
    "socketpair";
constexpr const char* kIpc =
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
    "mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop "
    "semtimedop_time64 shmat shmctl shmdt shmget";
#if defined(__x86_64__)
constexpr const char* kMachine = "arch_prctl modify_ldt";
#elif defined(__aarch64__)
constexpr const char* kMachine =
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";
#else
constexpr const char* kMachine = "";
#endif

// More calls for those who hold a capability.
struct Grant {
  const char* capability;
  const char* calls;
};
constexpr Grant kGrants[] = {
    {"CAP_DAC_READ_SEARCH", "open_by_handle_at"},
    {"CAP_SYS_ADMIN",
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie "
     "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount "
     "open_tree "
     "perf_event_open quotactl quotactl_fd setdomainname sethostname setns statmount syslog umount "
     "umount2 unshare"},
    {"CAP_SYS_BOOT", "reboot"},
    {"CAP_SYS_CHROOT", "chroot"},
    {"CAP_SYS_MODULE", "delete_module finit_module init_module"},
    {"CAP_SYS_PACCT", "acct"},
    {"CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"},
    {"CAP_SYS_RAWIO", "ioperm iopl"},
    {"CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"},
    {"CAP_SYS_TTY_CONFIG", "vhangup"},
    {"CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {"CAP_SYSLOG", "syslog"},
    {"CAP_BPF", "bpf"},
    {"CAP_PERFMON", "perf_event_open"},
};

// CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}: none of them without CAP_SYS_ADMIN.
constexpr int64_t kNamespaceFlags = 0x7E020000;
constexpr int kVsockFamily = 40;  // reaches the host of a virtual machine past every namespace
constexpr int kNoSuchCall = 38;   // ENOSYS
// Linux; 32-bit; the two with ADDR_NO_RANDOMIZE's neighbours UNAME26; "tell me".
constexpr int64_t kPersonalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};

void append_words(json::Value& names, std::string_view words) {
  while (!words.empty()) {
    size_t end = std::min(words.find(' '), words.size());
    if (end > 0) names.push_back(std::string(words.substr(0, end)));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

json::Value rule(const char* call, int index, int64_t value, const char* compare,
                 std::optional<int64_t> other = {}) {
  json::Value argument = json::Value::object({{"index", index}, {"value", value}, {"op", compare}});
  if (other) argument.set("valueTwo", *other);
  json::Value arguments = json::Value::array();
  arguments.push_back(std::move(argument));
  return json::Value::object({{"names", json::Value::array({call})},
                              {"action", "SCMP_ACT_ALLOW"},
                              {"args", std::move(arguments)}});
}

json::Value architectures() {
#if defined(__x86_64__)
  return json::Value::array({"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"});
#elif defined(__aarch64__)
  return json::Value::array({"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"});
#else
  return json::Value::array();
#endif
}

}  // namespace

json::Value default_seccomp(const std::vector<std::string>& capabilities) {
  auto holds = [&](const char* capability) {
    return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
  };
  json::Value allowed = json::Value::array();
  for (const char* group : {kFiles, kWatching, kMemory, kProcesses, kSignals, kScheduling, kTime,
                            kSockets, kIpc, kMachine})
    append_words(allowed, group);
  for (const Grant& grant : kGrants)
    if (holds(grant.capability)) append_words(allowed, grant.calls);
  json::Value calls = json::Value::array();
  calls.push_back(
      json::Value::object({{"names", std::move(allowed)}, {"action", "SCMP_ACT_ALLOW"}}));
  calls.push_back(rule("socket", 0, kVsockFamily, "SCMP_CMP_NE"));
  for (int64_t personality : kPersonalities)
    calls.push_back(rule("personality", 0, personality, "SCMP_CMP_EQ"));
  if (!holds("CAP_SYS_ADMIN")) {
    // MASKED_EQ: value is the mask, valueTwo what must remain.
    calls.push_back(rule("clone", 0, kNamespaceFlags, "SCMP_CMP_MASKED_EQ", 0));
    calls.push_back(json::Value::object({{"names", json::Value::array({"clone3"})},
                                         {"action", "SCMP_ACT_ERRNO"},
                                         {"errnoRet", kNoSuchCall}}));
  }
  return json::Value::object({{"defaultAction", "SCMP_ACT_ERRNO"},
                              {"defaultErrnoRet", 1},
                              {"architectures", architectures()},
                              {"syscalls", std::move(calls)}});
}

}  // namespace skiff::runtime
