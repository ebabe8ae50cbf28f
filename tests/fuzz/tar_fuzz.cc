// The tar reader. Whatever the bytes, it ends, its pieces stay inside the file they belong to, and
// reading in small steps gives the same. What it reads can be written and reads back the same.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "codec/tar/reader.h"
#include "codec/tar/writer.h"

namespace {

using namespace skiff;
using codec::tar::Entry;

struct Member {
  Entry entry;
  std::string content;
};

// Small limits, so that a few bytes cannot ask for much.
constexpr codec::tar::ReaderLimits kLimits{.entries = 1000,
                                           .file_bytes = 1 << 20,
                                           .name_bytes = 8192,
                                           .header_bytes = 1 << 16,
                                           .sparse_pieces = 1000};

Result<std::vector<Member>> read(Bytes bytes, size_t step) {
  MemorySource source(bytes);
  codec::BufferedWindow window(source, step);
  codec::tar::Reader reader(window, kLimits);
  std::vector<Member> members;
  while (const Entry* entry = SKIFF_TRY(reader.next())) {
    uint64_t end = 0;
    Member member{*entry, {}};
    for (;;) {
      auto piece = SKIFF_TRY(reader.next_piece());
      if (piece.bytes.empty()) break;
      SKIFF_CHECK(piece.offset >= end && piece.offset + piece.bytes.size() <= entry->size,
                  "pieces lie in the file");
      end = piece.offset + piece.bytes.size();
      member.content.append(as_text(piece.bytes));
    }
    SKIFF_CHECK(entry->sparse || member.content.size() == entry->size, "a file has its size");
    members.push_back(std::move(member));
  }
  return members;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes = std::as_bytes(std::span(data, size));
  auto members = read(bytes, 1 << 16);
  auto stepped = read(bytes, 7);
  SKIFF_CHECK(members.has_value() == stepped.has_value(), "steps do not matter");
  if (!members) return 0;
  StringSink sink;
  codec::tar::Writer writer(sink);
  for (const Member& member : *members) {
    Entry entry = member.entry;
    entry.size = member.content.size();
    if (!writer.add(entry)) return 0;  // an xattr's name that only the other form can hold
    SKIFF_CHECK(writer.write(as_bytes(member.content)).has_value(), "content fits");
  }
  SKIFF_CHECK(writer.finish().has_value(), "the archive ends");
  std::string written = sink.take();
  auto again = read(as_bytes(written), 1 << 16);
  SKIFF_CHECK(again && again->size() == members->size(), "what was written is read");
  for (size_t i = 0; i < members->size(); ++i) {
    const Entry &a = (*members)[i].entry, &b = (*again)[i].entry;
    bool same = a.type == b.type && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
                a.mtime == b.mtime && a.link_name == b.link_name &&
                a.xattrs.size() == b.xattrs.size() && (*members)[i].content == (*again)[i].content;
    SKIFF_CHECK(same, "entries round-trip");
  }
  return 0;
}
