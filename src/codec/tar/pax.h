// PAX records ("<length> <key>=<value>\n") and the values in them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/tar/entry.h"

namespace skiff::codec::tar {

struct PaxRecord {
  std::string_view key;
  std::string_view value;  // may hold any byte
};
// Takes the first record off `text`. InvalidArgument where it is malformed.
Result<PaxRecord> take_pax_record(std::string_view& text);
void append_pax_record(std::string& text, std::string_view key, std::string_view value);

// "seconds[.fraction]", perhaps negative; digits past nanoseconds are dropped (towards the past).
std::optional<Time> parse_pax_time(std::string_view text);
std::string format_pax_time(const Time& time);

// LIBARCHIVE.xattr.* writes names in percent-encoding and values in base64.
std::optional<std::string> decode_percent(std::string_view text);
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace skiff::codec::tar
