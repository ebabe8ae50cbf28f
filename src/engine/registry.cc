#include "engine/registry.h"

namespace skiff::engine {

Status Registry::add(const ContainerPtr& container, const std::string& name) {
  auto spaces = names_.lock();
  Names& names = (*spaces)[container->name_space];
  if (!name.empty())
    if (auto holder = names.by_name.find(name); holder != names.by_name.end())
      return fail(Code::kAlreadyExists,
                  "the name \"{}\" is in use by container {}; remove that one or take another name",
                  name, holder->second->id.substr(0, 12));
  if (!names.by_id.emplace(container->id, container).second)
    return fail(Code::kAlreadyExists, "there is a container {} already", container->id);
  if (!name.empty()) names.by_name.emplace(name, container);
  return ok();
}

void Registry::free_name(const ContainerPtr& container) {
  auto spaces = names_.lock();
  Names& names = (*spaces)[container->name_space];
  std::erase_if(names.by_name, [&](const auto& entry) { return entry.second == container; });
}

void Registry::remove(const ContainerPtr& container) {
  auto spaces = names_.lock();
  Names& names = (*spaces)[container->name_space];
  std::erase_if(names.by_id, [&](const auto& entry) { return entry.second == container; });
  std::erase_if(names.by_name, [&](const auto& entry) { return entry.second == container; });
}

Result<ContainerPtr> Registry::find(const std::string& name_space, const std::string& reference) {
  auto spaces = names_.lock();
  const Names& names = (*spaces)[name_space];
  if (auto found = names.by_id.find(reference); found != names.by_id.end()) return found->second;
  if (auto found = names.by_name.find(reference); found != names.by_name.end())
    return found->second;
  auto first = names.by_id.lower_bound(reference);
  if (reference.empty() || first == names.by_id.end() || !first->first.starts_with(reference))
    return fail(Code::kNotFound, "no container \"{}\"", reference);
  if (auto second = std::next(first);
      second != names.by_id.end() && second->first.starts_with(reference))
    return fail(Code::kInvalidArgument, "several containers' ids begin with \"{}\"", reference);
  return first->second;
}

std::vector<ContainerPtr> Registry::list(const std::string& name_space) {
  std::vector<ContainerPtr> containers;
  auto spaces = names_.lock();
  for (auto& [id, container] : (*spaces)[name_space].by_id) containers.push_back(container);
  return containers;
}

std::vector<ContainerPtr> Registry::list_all() {
  std::vector<ContainerPtr> containers;
  auto spaces = names_.lock();
  for (auto& [space, names] : *spaces)
    for (auto& [id, container] : names.by_id) containers.push_back(container);
  return containers;
}

}  // namespace skiff::engine
