#include "layer/records.h"

#include <algorithm>
#include <vector>

#include "layer/names.h"

namespace skiff::layer {

void StagedLayer::Records::drop(const std::string& path) {
  // A directory that entries went through before still matters to settle.
  if (auto it = implicit.find(path); it != implicit.end()) it->second.replaced = true;
  for (auto& [name, dir] : below(implicit, path)) dir.replaced = true;
  spend_link(path);
  std::vector<std::string> spent;
  for (const auto& [name, target] : below(links, path)) spent.push_back(name);
  for (const std::string& name : spent) spend_link(name);
  whiteouts.erase(path);
  auto range = below(whiteouts, path);
  whiteouts.erase(range.begin(), range.end());
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
