#include "engine/record.h"

#include <concepts>
#include <span>
#include <utility>

#include "codec/json/json.h"

namespace skiff::engine {
namespace {

template <class E>
using Names = std::span<const std::pair<E, std::string_view>>;
constexpr std::pair<Phase, std::string_view> kPhases[] = {{Phase::kCreating, "creating"},
                                                          {Phase::kCreated, "created"},
                                                          {Phase::kRunning, "running"},
                                                          {Phase::kExited, "exited"},
                                                          {Phase::kRemoving, "removing"}};
constexpr std::pair<MountType, std::string_view> kMountTypes[] = {{MountType::kBind, "bind"},
                                                                  {MountType::kTmpfs, "tmpfs"}};
constexpr std::pair<Network, std::string_view> kNetworks[] = {{Network::kNone, "none"},
                                                              {Network::kHost, "host"}};
Names<Phase> names_of(Phase) { return kPhases; }
Names<MountType> names_of(MountType) { return kMountTypes; }
Names<Network> names_of(Network) { return kNetworks; }

template <class E>
std::string_view name_of(E value) {
  for (auto [known, name] : names_of(value))
    if (known == value) return name;
  return "unknown";
}

template <class E>
Status parse_name(std::string_view text, E& value) {
  for (auto [known, name] : names_of(value))
    if (name == text) {
      value = known;
      return ok();
    }
  return fail(Code::kInvalidArgument, "\"{}\" is not known here", text);
}

// --- every stored field, once; a Saver or a Loader goes over them ------------------------------
template <class V>
void fields(V& v, Mount& m) {
  v("type", m.type);
  v("source", m.source);
  v("target", m.target);
  v("read_only", m.read_only);
  v("create_source", m.create_source);
  v("options", m.options);
}

template <class V>
void fields(V& v, ContainerSpec& s) {
  v("image", s.image);
  v("entrypoint", s.entrypoint);
  v("command", s.command);
  v("env", s.env);
  v("working_dir", s.working_dir);
  v("user", s.user);
  v("additional_groups", s.additional_groups);
  v("hostname", s.hostname);
  v("tty", s.tty);
  v("open_stdin", s.open_stdin);
  v("read_only", s.read_only);
  v("privileged", s.privileged);
  v("network", s.network);
  v("mounts", s.mounts);
  v("cap_add", s.cap_add);
  v("cap_drop", s.cap_drop);
  v("memory_bytes", s.memory_bytes);
  v("cpus", s.cpus);
  v("pids_limit", s.pids_limit);
  v("sysctls", s.sysctls);
  v("runtime", s.runtime);
  v("auto_remove", s.auto_remove);
}

// What a container is made from: never changes.
struct Origin {
  Record& record;
};
template <class V>
void fields(V& v, Origin& o) {
  v("spec", o.record.spec);
  v("image_digest", o.record.image_digest);
  v("chain_id", o.record.chain_id);
  v("runtime", o.record.runtime);
  v("runtime_program", o.record.runtime_program);
  v("arguments", o.record.arguments);
  v("env", o.record.env);
  v("working_dir", o.record.working_dir);
  v("user", o.record.user);
}

template <class V>
void fields(V& v, ExitStatus& e) {
  v("code", e.code);
  v("oom_killed", e.oom_killed);
  v("time", e.time);
  v("error", e.error);
}

struct State {
  Record& record;
};
template <class V>
void fields(V& v, State& s) {
  v("phase", s.record.phase);
  v("pid", s.record.pid);
  v("started", s.record.started);
  v("exit", s.record.exit);
}

// --- to JSON; defaults are left out ------------------------------------------------------------
struct Saver {
  json::Value out = json::Value::object();

  template <class T>
  void operator()(std::string_view key, T& field) {
    if (!(field == T{})) out.set(key, save(field));
  }
  void operator()(std::string_view key, ContainerSpec& spec) { out.set(key, save(spec)); }

  template <class T>
  static json::Value save(T& field) {
    if constexpr (std::is_enum_v<T>) {
      return name_of(field);
    } else if constexpr (requires(Saver& v) { fields(v, field); }) {
      Saver inner;
      fields(inner, field);
      return std::move(inner.out);
    } else {
      return json::Value(field);
    }
  }
  template <class T>
  static json::Value save(std::optional<T>& field) {
    return save(*field);
  }
  template <class T>
  static json::Value save(std::vector<T>& field) {
    json::Value list = json::Value::array();
    for (T& element : field) list.push_back(save(element));
    return list;
  }
  static json::Value save(std::map<std::string, std::string>& field) {
    json::Value object = json::Value::object();
    for (auto& [key, text] : field) object.set(key, text);
    return object;
  }
  static json::Value save(Digest& field) { return field.str(); }
};

// --- from JSON ---------------------------------------------------------------------------------
struct Loader {
  const json::Value& in;
  Status status = ok();

  template <class T>
  void operator()(std::string_view key, T& field) {
    const json::Value* value = in.find(key);
    if (value == nullptr || !status) return;
    status = load(*value, field);
    if (!status) status = std::unexpected(std::move(status).error().wrap(key));
  }

  template <class T, class From>
  static Status take(Result<From> from, T& field) {
    if (!from) return std::unexpected(std::move(from).error());
    field = static_cast<T>(*std::move(from));
    return ok();
  }
  template <class T>
  static Status load(const json::Value& value, T& field) {
    if constexpr (std::is_same_v<T, bool>) {
      return take(value.as_bool(), field);
    } else if constexpr (std::is_same_v<T, uint64_t>) {
      return take(value.as_uint(), field);
    } else if constexpr (std::is_enum_v<T>) {
      return parse_name(SKIFF_TRY(value.as_string()), field);
    } else if constexpr (std::integral<T>) {
      return take(value.as_int(), field);
    } else if constexpr (std::floating_point<T>) {
      return take(value.as_double(), field);
    } else if constexpr (std::is_same_v<T, std::string>) {
      return take(value.as_string(), field);
    } else {
      Loader inner{value};
      fields(inner, field);
      return inner.status;
    }
  }
  template <class T>
  static Status load(const json::Value& value, std::optional<T>& field) {
    return load(value, field.emplace());
  }
  template <class T>
  static Status load(const json::Value& value, std::vector<T>& field) {
    for (const json::Value& element : *SKIFF_TRY(value.as_array()))
      SKIFF_TRY(load(element, field.emplace_back()));
    return ok();
  }
  static Status load(const json::Value& value, std::map<std::string, std::string>& field) {
    for (const json::Member& member : *SKIFF_TRY(value.as_object()))
      SKIFF_TRY(load(member.value, field[member.key]));
    return ok();
  }
  static Status load(const json::Value& value, Digest& field) {
    return take(Digest::parse(SKIFF_TRY(value.as_string())), field);
  }
};

template <class T>
std::string save_text(T part) {
  return json::dump(Saver::save(part));
}

template <class T>
Status load_text(const std::string& text, T part) {
  json::Value value = SKIFF_TRY(json::parse(text));
  return Loader::load(value, part);
}

}  // namespace

std::string_view phase_name(Phase phase) { return name_of(phase); }

metadata::ContainerRow to_row(const Record& record) {
  Record copy = record;
  return {.id = record.id,
          .name = record.spec.name,
          .image = record.image,
          .snapshotter = record.spec.snapshotter,
          .snapshot_key = record.id,
          .spec = save_text(Origin{copy}),
          .state = save_text(State{copy}),
          .labels = record.spec.labels,
          .created = record.created,
          .updated = metadata::now()};
}

Result<Record> from_row(const std::string& name_space, const metadata::ContainerRow& row) {
  Record record{.name_space = name_space, .id = row.id, .image = row.image, .created = row.created};
  Status loaded = load_text(row.spec, Origin{record});
  if (loaded) loaded = load_text(row.state, State{record});
  if (!loaded)
    return std::unexpected(
        std::move(loaded)
            .error()
            .with_code(Code::kDataLoss)
            .wrap(fmt::format("container {} in namespace {}", row.id, name_space)));
  record.spec.id = row.id;
  record.spec.name = row.name;
  record.spec.snapshotter = row.snapshotter;
  record.spec.labels = row.labels;
  return record;
}

ContainerInfo to_info(const Record& record) {
  return {.id = record.id,
          .name = record.spec.name,
          .image = record.image,
          .image_digest = record.image_digest,
          .snapshotter = record.spec.snapshotter,
          .runtime = record.runtime,
          .arguments = record.arguments,
          .labels = record.spec.labels,
          .tty = record.spec.tty,
          .auto_remove = record.spec.auto_remove,
          .phase = record.phase,
          .pid = record.phase == Phase::kRunning ? record.pid : 0,
          .created = record.created,
          .started = record.started,
          .exit = record.exit};
}

}  // namespace skiff::engine
