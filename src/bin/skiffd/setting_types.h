// How each type of setting is read from TOML and written to it. `read` fails with what was
// expected; the caller says where.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "bin/skiffd/settings.h"
#include "bin/skiffd/toml.h"

namespace skiff::daemon {

Status read(const TomlEntry::Value& value, std::string& field);
Status read(const TomlEntry::Value& value, bool& field);
Status read(const TomlEntry::Value& value, int64_t& field);
Status read(const TomlEntry::Value& value, std::vector<std::string>& field);
Status read(const TomlEntry::Value& value, ByteSize& field);
Status read(const TomlEntry::Value& value, Duration& field);
Status read(const TomlEntry::Value& value, FileMode& field);

std::string show(const std::string& field);
std::string show(bool field);
std::string show(int64_t field);
std::string show(const std::vector<std::string>& field);
std::string show(ByteSize field);
std::string show(Duration field);
std::string show(FileMode field);

}  // namespace skiff::daemon
