#include "http/message.h"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace skiff::http {

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

void Headers::set(Header header) {
  remove(header.name);
  add(std::move(header));
}

void Headers::remove(std::string_view name) {
  std::erase_if(all_, [&](const Header& h) { return same_name(h.name, name); });
}

void Headers::remove_sensitive() {
  std::erase_if(all_, [](const Header& h) {
    return h.sensitive || same_name(h.name, "Authorization") || same_name(h.name, "Cookie");
  });
}

std::string_view Headers::get(std::string_view name) const {
  for (const Header& h : all_)
    if (same_name(h.name, name)) return h.value;
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(all_.begin(), all_.end(),
                     [&](const Header& h) { return same_name(h.name, name); });
}

std::optional<uint64_t> Headers::number(std::string_view name) const {
  std::string_view text = get(name);
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

namespace {

class OwningSource : public ByteSource {
 public:
  explicit OwningSource(std::shared_ptr<const std::string> text)
      : text_(std::move(text)), rest_(*text_) {}
  Result<size_t> read(MutableBytes buffer) override { return rest_.read(buffer); }

 private:
  std::shared_ptr<const std::string> text_;
  MemorySource rest_;
};

}  // namespace

Body Body::of(std::string text) {
  auto kept = std::make_shared<const std::string>(std::move(text));
  auto open = [kept]() -> Result<std::unique_ptr<ByteSource>> {
    return std::make_unique<OwningSource>(kept);
  };
  return Body{open, kept->size()};
}

}  // namespace skiff::http
