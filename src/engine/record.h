// What the metadata store keeps of a container, as a value.
#pragma once

#include "base/digest.h"
#include "engine/engine.h"

namespace skiff::engine {

struct Record {
  std::string name_space;
  std::string id;
  ContainerSpec spec;  // as asked for, with id, name and snapshotter filled in

  // What the image and the host made of it.
  std::string image;  // its stored name
  Digest image_digest;
  Digest chain_id;      // empty: an image without layers
  std::string runtime;  // name, for people
  std::string runtime_program;
  std::vector<std::string> arguments, env;
  std::string working_dir, user;

  Phase phase = Phase::kCreating;
  int pid = 0;
  Time created = 0, started = 0;
  std::optional<ExitStatus> exit;
};

metadata::ContainerRow to_row(const Record& record);
// DataLoss names the row that cannot be understood.
Result<Record> from_row(const std::string& name_space, const metadata::ContainerRow& row);
ContainerInfo to_info(const Record& record);

}  // namespace skiff::engine
