#include "tests/lib/layer_builder.h"

#include <random>

#include "base/check.h"
#include "codec/hash.h"
#include "oci/platform.h"

namespace skiff::testing {

LayerBuilder& LayerBuilder::folder(std::string name, uint32_t mode) {
  return entry({.type = codec::tar::EntryType::kDirectory, .name = name + "/", .mode = mode});
}

LayerBuilder& LayerBuilder::file(std::string name, std::string content, uint32_t mode) {
  return entry({.name = std::move(name), .mode = mode}, std::move(content));
}

LayerBuilder& LayerBuilder::symlink(std::string name, std::string target) {
  return entry({.type = codec::tar::EntryType::kSymlink,
                .name = std::move(name),
                .link_name = std::move(target),
                .mode = 0777});
}

LayerBuilder& LayerBuilder::hard_link(std::string name, std::string target) {
  return entry({.type = codec::tar::EntryType::kHardLink,
                .name = std::move(name),
                .link_name = std::move(target)});
}

LayerBuilder& LayerBuilder::whiteout(std::string name) {
  const auto slash = name.rfind('/');
  name.insert(slash == std::string::npos ? 0 : slash + 1, ".wh.");
  return file(std::move(name), "");
}

LayerBuilder& LayerBuilder::entry(codec::tar::Entry entry, std::string content) {
  entry.size = content.size();
  if (entry.mtime.seconds == 0) entry.mtime.seconds = 1'700'000'000;
  items_.push_back({std::move(entry), std::move(content)});
  return *this;
}

std::string LayerBuilder::tar() const {
  StringSink sink;
  codec::tar::Writer writer(sink);
  for (const Item& item : items_) {
    SKIFF_CHECK(writer.add(item.entry), "the test's entry can be written");
    if (!item.content.empty())
      SKIFF_CHECK(writer.write(as_bytes(item.content)), "the test's content can be written");
  }
  SKIFF_CHECK(writer.finish(), "the test's tar ends");
  return sink.take();
}

std::string LayerBuilder::blob(codec::Compression compression) const {
  return compressed(tar(), compression);
}

std::string compressed(std::string_view bytes, codec::Compression compression) {
  if (compression == codec::Compression::kNone) return std::string(bytes);
  StringSink sink;
  auto compressor = codec::compress(sink, compression);
  SKIFF_CHECK(compressor->write(as_bytes(bytes)), "compresses");
  SKIFF_CHECK(compressor->finish(), "compresses");
  return sink.take();
}

std::string noise(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string image_config(const std::vector<std::string>& tars, const std::string& extra_config) {
  std::string diff_ids;
  for (const std::string& tar : tars) {
    if (!diff_ids.empty()) diff_ids += ',';
    diff_ids += '"' + codec::digest_of(tar).str() + '"';
  }
  const auto host = oci::Platform::host();
  return fmt::format(
      R"({{"created":"2026-01-02T03:04:05Z","architecture":"{}","os":"linux","config":{{{}}},)"
      R"("rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
      host.architecture, extra_config, diff_ids);
}

}  // namespace skiff::testing
