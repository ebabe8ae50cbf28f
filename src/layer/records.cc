#include "layer/records.h"

#include <algorithm>
#include <vector>

#include "layer/names.h"

namespace skiff::layer {

void StagedLayer::Records::drop(const std::string& path) {
  auto below = [&](const std::string& other) { return is_within(other, path); };
  // A directory that entries went through before still matters to settle.
  for (auto& [name, dir] : implicit)
    if (below(name)) dir.replaced = true;
  std::vector<std::string> spent;
  for (const auto& [name, target] : links)
    if (below(name)) spent.push_back(name);
  for (const std::string& name : spent) spend_link(name);
  std::erase_if(whiteouts, below);
}

void StagedLayer::Records::spend_link(std::string_view path) {
  auto it = links.find(path);
  if (it == links.end()) return;
  spent_targets.insert(std::move(it->second));
  links.erase(it);
}

bool StagedLayer::Records::any_replaced() const {
  return std::ranges::any_of(implicit, [](const auto& item) { return item.second.replaced; });
}

}  // namespace skiff::layer
