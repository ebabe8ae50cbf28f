#include "bin/skiff/args.h"

#include <cstdlib>
#include <memory>
#include <sstream>

#include <CLI/CLI.hpp>

#include "bin/skiff/commands.h"

namespace skiff::cli {
namespace {

using Command = std::function<Result<int>(const Global&)>;

// Collects the verbs of one command line.
class Parser {
 public:
  Parser() {
    app_.require_subcommand(1);
    app_.set_version_flag("-v,--version", "skiff " SKIFF_VERSION);
    app_.footer("`skiff VERB --help` says what a verb takes.");
    app_.failure_message(
        [](const CLI::App*, const CLI::Error& error) { return std::string(error.what()); });
    if (const char* address = std::getenv("SKIFF_ADDRESS"); address && *address)
      global_.address = address;
    if (const char* name = std::getenv("SKIFF_NAMESPACE"); name && *name) global_.name_space = name;
  }

  ParsedArgs parse(int argc, const char* const* argv);

  void add_image_verbs();
  void add_transfer_verbs();
  void add_archive_verbs();
  void add_login_verbs();
  void add_run();
  void add_container_verbs();
  void add_system_verbs();

 private:
  template <class Options>
  CLI::App* verb(const char* name, const char* what, std::shared_ptr<Options> options,
                 Result<int> (*function)(const Global&, const Options&)) {
    CLI::App* sub = app_.add_subcommand(name, what);
    sub->callback([this, options, function] {
      command_ = [options, function](const Global& global) { return function(global, *options); };
    });
    return sub;
  }
  void verb(const char* name, const char* what, Result<int> (*function)(const Global&)) {
    CLI::App* sub = app_.add_subcommand(name, what);
    sub->callback([this, function] { command_ = function; });
  }

  void add_globals(CLI::App& app) {
    app.add_option("--address", global_.address, "skiffd's socket (env SKIFF_ADDRESS)")
        ->type_name("PATH")
        ->capture_default_str()
        ->group("Everywhere");
    app.add_option("--namespace", global_.name_space,
                   "whose images and containers (env SKIFF_NAMESPACE)")
        ->type_name("NAME")
        ->capture_default_str()
        ->group("Everywhere");
    app.add_flag("--json", global_.json, "print JSON for programs")->group("Everywhere");
    app.add_flag("--debug", global_.debug, "say more about errors")->group("Everywhere");
  }
  static void add_registry(CLI::App& app, RegistryOptions& options) {
    app.add_flag("--plain-http", options.plain_http, "talk to the registry over plain HTTP");
    app.add_flag("--tls-skip-verify", options.skip_verify,
                 "do not check the registry's TLS certificate");
  }
  static void add_platform(CLI::App& app, std::string& platform) {
    app.add_option("--platform", platform, "os/architecture[/variant] (default: this machine's)")
        ->type_name("PLATFORM");
  }
  // An option that may be given several times, one value each.
  static CLI::Option* many(CLI::App& app, const char* names, std::vector<std::string>& values,
                           const char* type, const char* what) {
    return app.add_option(names, values, what)
        ->allow_extra_args(false)
        ->take_all()
        ->type_name(type);
  }

  CLI::App app_{"skiff: pull images and run containers", "skiff"};
  Global global_;
  Command command_;
};

void Parser::add_transfer_verbs() {
  auto options = std::make_shared<PullOptions>();
  CLI::App* app = verb("pull", "Fetch images from their registries and unpack them", options, pull);
  app->add_option("REFERENCE", options->references, "images, such as redis:7")->required();
  add_platform(*app, options->platform);
  add_registry(*app, options->registry);
  app->add_option("--snapshotter", options->snapshotter, "unpack into this snapshotter")
      ->type_name("NAME");
  app->add_flag("--remote-snapshot", options->remote,
                "use remote snapshots for layers where the snapshotter has them");
  app->add_flag("--no-unpack", options->no_unpack, "fetch only");
  app->add_option("--trace", options->trace_file,
                  "write the pull's time line here, for chrome://tracing")
      ->type_name("FILE");
  app->add_option("--concurrency", options->concurrency, "images pulled at once")
      ->check(CLI::Range(1u, 256u))
      ->capture_default_str()
      ->type_name("N");
  app->add_flag("-q,--quiet", options->quiet, "print names only");

  auto push_options = std::make_shared<PushOptions>();
  app = verb("push", "Upload an image to a registry", push_options, push);
  app->add_option("IMAGE", push_options->name, "the image here")->required();
  app->add_option("TARGET", push_options->target, "its name there (default: the same)");
  add_platform(*app, push_options->platform);
  add_registry(*app, push_options->registry);
  app->add_flag("--all-platforms", push_options->all_platforms,
                "push every platform of the image; all of them must be here");
  app->add_flag("-q,--quiet", push_options->quiet, "print nothing");
}

void Parser::add_image_verbs() {
  auto list = std::make_shared<ImagesOptions>();
  CLI::App* app = verb("images", "List images", list, images);
  many(*app, "-f,--filter", list->filters, "FILTER",
       "only those that match, such as name~=redis (containerd's filter language)");
  app->add_flag("-q,--quiet", list->quiet, "print names only");
  app->add_flag("--digests", list->digests, "show whole digests");

  auto look = std::make_shared<InspectOptions>();
  app = verb("inspect", "Show all about images, as JSON", look, inspect);
  app->add_option("IMAGE", look->names, "names or digests")->required();
  add_platform(*app, look->platform);

  auto name = std::make_shared<TagOptions>();
  app = verb("tag", "Give an image another name", name, tag);
  app->add_option("IMAGE", name->source, "name or digest")->required();
  app->add_option("NAME", name->target, "the new name")->required();

  auto remove = std::make_shared<RemoveOptions>();
  app = verb("rmi", "Remove images' names; what no name needs is garbage", remove, remove_images);
  app->add_option("IMAGE", remove->names, "names or digests")->required();
  app->add_flag("-f,--force", remove->force, "a missing image is no error");
}

void Parser::add_archive_verbs() {
  auto out = std::make_shared<SaveOptions>();
  CLI::App* app = verb("save", "Write images to an archive", out, save);
  app->add_option("IMAGE", out->names, "names")->required();
  app->add_option("-o,--output", out->file, "the archive (default: stdout)")->type_name("FILE");
  app->add_flag("--oci", out->oci, "an OCI layout only, without what `docker load` needs");
  add_platform(*app, out->platform);

  auto in = std::make_shared<LoadOptions>();
  app = verb("load", "Read images from an archive: docker save's or an OCI layout", in, load);
  app->add_option("-i,--input", in->file, "the archive (default: stdin)")->type_name("FILE");
  app->add_option("--name", in->name, "name for an image that has none in the archive")
      ->type_name("NAME");
  app->add_option("--snapshotter", in->snapshotter, "unpack into this snapshotter")
      ->type_name("NAME");
  app->add_flag("--no-unpack", in->no_unpack, "store only");
  app->add_flag("-q,--quiet", in->quiet, "print names only");
  add_platform(*app, in->platform);
}

void Parser::add_login_verbs() {
  auto in = std::make_shared<LoginOptions>();
  CLI::App* app = verb("login", "Check credentials at a registry and keep them", in, login);
  app->add_option("REGISTRY", in->host, "such as ghcr.io (default: docker.io)");
  app->add_option("-u,--username", in->username, "user name")->type_name("NAME");
  app->add_flag("--password-stdin", in->password_stdin, "read the password from stdin");
  add_registry(*app, in->registry);

  auto out = std::make_shared<LogoutOptions>();
  app = verb("logout", "Forget a registry's credentials", out, logout);
  app->add_option("REGISTRY", out->host, "such as ghcr.io (default: docker.io)");
}

void Parser::add_run() {
  auto options = std::make_shared<RunOptions>();
  CLI::App* app = app_.add_subcommand(
      "run", "Run a command in a new container: skiff run [OPTIONS] IMAGE [COMMAND...]");
  app->set_help_flag("--help", "Print this help message and exit");
  app->footer(
      "Exits with the command's status; 125 when skiff failed, 126 when the command could\n"
      "not be run, 127 when it was not found, 128 + n after signal n.");
  // What follows the image is the command's, options too.
  app->prefix_command();
  app->add_flag("--rm", options->remove, "remove the container when it has exited");
  app->add_flag("-i,--interactive", options->interactive, "connect stdin");
  app->add_flag("-t,--tty", options->tty, "give it a terminal");
  app->add_option("--name", options->name, "the container's name")->type_name("NAME");
  many(*app, "-e,--env", options->env, "KEY[=VALUE]", "set a variable");
  many(*app, "--env-file", options->env_files, "FILE", "set variables from lines of KEY=VALUE");
  app->add_option("-w,--workdir", options->working_dir, "start in this folder")->type_name("PATH");
  app->add_option("-u,--user", options->user, "run as this user")->type_name("USER[:GROUP]");
  many(*app, "--group-add", options->groups, "GROUP", "be in this group, too");
  many(*app, "-v,--volume", options->volumes, "HOST:TARGET[:ro]", "mount a host path");
  many(*app, "--tmpfs", options->tmpfs, "TARGET[:OPTIONS]", "mount an empty memory file system");
  app->add_option("--net,--network", options->network, "none or host")
      ->type_name("MODE")
      ->capture_default_str();
  app->add_option("--entrypoint", options->entrypoint, "instead of the image's")
      ->type_name("COMMAND");
  app->add_option("-h,--hostname", options->hostname, "host name inside")->type_name("NAME");
  app->add_option("--pull", options->pull, "missing, always or never")
      ->type_name("WHEN")
      ->check(CLI::IsMember({"missing", "always", "never"}))
      ->capture_default_str();
  add_platform(*app, options->platform);
  app->add_flag("--read-only", options->read_only, "mount the root file system read-only");
  app->add_flag("--privileged", options->privileged, "give it all rights of the host's root");
  many(*app, "--cap-add", options->cap_add, "CAP", "add a capability");
  many(*app, "--cap-drop", options->cap_drop, "CAP", "drop a capability");
  app->add_option("-m,--memory", options->memory, "limit, such as 512m")->type_name("BYTES");
  app->add_option("--cpus", options->cpus, "limit, such as 1.5")->type_name("N");
  app->add_option("--pids-limit", options->pids_limit, "limit of processes")->type_name("N");
  many(*app, "--sysctl", options->sysctls, "KEY=VALUE", "set a kernel setting of its namespaces");
  many(*app, "-l,--label", options->labels, "KEY=VALUE", "label the container");
  app->add_option("--snapshotter", options->snapshotter, "unpack into this snapshotter")
      ->type_name("NAME");
  app->add_option("--runtime", options->runtime, "OCI runtime, by name or path")->type_name("NAME");
  app->add_flag("-q,--quiet", options->quiet, "do not show the pull");
  add_registry(*app, options->registry);
  app->callback([this, app, options] {
    std::vector<std::string> words = app->remaining();
    if (!words.empty() && words.front() == "--") words.erase(words.begin());
    if (words.empty()) throw CLI::RequiredError("IMAGE");
    if (words.front().starts_with("-")) throw CLI::ExtrasError({words.front()});
    options->image = words.front();
    options->command.assign(words.begin() + 1, words.end());
    command_ = [options](const Global& global) { return run(global, *options); };
  });
}

void Parser::add_container_verbs() {
  auto list = std::make_shared<PsOptions>();
  CLI::App* app = verb("ps", "List containers", list, list_containers);
  app->add_flag("-a,--all", list->all, "those that do not run, too");
  app->add_flag("-q,--quiet", list->quiet, "print ids only");

  auto remove = std::make_shared<RemoveContainersOptions>();
  app = verb("rm", "Remove containers", remove, remove_containers);
  app->add_option("CONTAINER", remove->ids, "ids or names")->required();
  app->add_flag("-f,--force", remove->force, "kill those that run");
}

void Parser::add_system_verbs() {
  auto lease = std::make_shared<LeasesOptions>();
  CLI::App* app = verb("leases", "List what keeps content from being collected", lease, leases);
  many(*app, "-f,--filter", lease->filters, "FILTER", "only those that match");
  many(*app, "--rm", lease->remove, "ID", "remove this lease");
  verb("gc", "Collect garbage now", collect_garbage);
  verb("df", "Show what takes space", disk_usage);
  auto check = std::make_shared<FsckOptions>();
  app = verb("fsck", "Compare the store's records with the files; status 1 when they differ", check,
             check_store);
  app->add_flag("--deep", check->deep, "read every blob and check its digest");
  verb("info", "Show what skiffd is and has", info);
  auto versions = std::make_shared<VersionOptions>();
  app = verb("version", "Show the versions of skiff and skiffd", versions, version);
  app->add_flag("--client", versions->client, "of skiff alone, without asking skiffd");
}

ParsedArgs Parser::parse(int argc, const char* const* argv) {
  // Last, to stand last in the help.
  add_globals(app_);
  for (CLI::App* sub : app_.get_subcommands(nullptr)) add_globals(*sub);
  bool is_run = false;
  try {
    app_.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream out, err;
    app_.exit(success, out, err);
    return {std::nullopt, 0, out.str()};
  } catch (const CLI::Error& error) {
    // Of several verbs on the way the last one parsed knows best.
    std::vector<CLI::App*> subs = app_.get_subcommands();
    std::string name = subs.empty() ? "skiff" : "skiff " + subs.back()->get_name();
    is_run = !subs.empty() && subs.back()->get_name() == "run";
    return {std::nullopt, is_run ? kRunFailure : kUsage,
            name + ": " + error.what() + "\nSee `" + name + " --help`.\n"};
  }
  return {Invocation{global_, command_, app_.got_subcommand("run") ? kRunFailure : kFailure}, 0,
          ""};
}

}  // namespace

ParsedArgs parse_args(int argc, const char* const* argv) {
  Parser parser;
  parser.add_run();
  parser.add_transfer_verbs();
  parser.add_image_verbs();
  parser.add_archive_verbs();
  parser.add_login_verbs();
  parser.add_container_verbs();
  parser.add_system_verbs();
  return parser.parse(argc, argv);
}

}  // namespace skiff::cli
