// The containers that this daemon knows, in memory: the store's rows, with what belongs to a run
// (the shim, those who wait for the exit). Lookups never touch the database.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "engine/record.h"
#include "runtime/shim.h"

namespace skiff::engine {

struct Container {
  explicit Container(Record record)
      : name_space(record.name_space), id(record.id), state{State{.record = std::move(record)}} {}

  struct State {
    Record record;
    std::shared_ptr<runtime::Shim> shim;  // while it runs, once found
    uint64_t run = 0;                     // counts starts: an exit belongs to one
    std::map<uint64_t, Engine::ExitFn> waiters;
    uint64_t next_waiter = 1;
  };

  const std::string name_space;
  const std::string id;
  Guarded<State> state;

  // A copy: never hold the state's lock over I/O.
  Record record() { return state.lock()->record; }
  Context context() const { return Context().with_namespace(name_space); }
  // For KeyLocks: who holds it starts, settles or removes this container.
  std::string key() const { return name_space + "/" + id; }
};
using ContainerPtr = std::shared_ptr<Container>;

// Thread-safe. Never held over I/O.
class Registry {
 public:
  // Reserves id and name. AlreadyExists names the one that is taken.
  Status add(const ContainerPtr& container, const std::string& name);
  // Another container may have its name.
  void free_name(const ContainerPtr& container);
  // Gives both back.
  void remove(const ContainerPtr& container);
  // By id, name, or unique prefix of an id. NotFound; InvalidArgument when the prefix is not
  // unique.
  Result<ContainerPtr> find(const std::string& name_space, const std::string& reference);
  std::vector<ContainerPtr> list(const std::string& name_space);
  std::vector<ContainerPtr> list_all();

 private:
  struct Names {
    std::map<std::string, ContainerPtr> by_id;
    std::map<std::string, ContainerPtr> by_name;
  };
  Guarded<std::map<std::string, Names>> names_;  // by namespace
};

}  // namespace skiff::engine
