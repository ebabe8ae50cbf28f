// From what a caller asks for to what the OCI runtime is told.
#pragma once

#include "engine/record.h"
#include "runtime/spec.h"

namespace skiff::oci {
struct ImageConfig;
}

namespace skiff::engine {

// InvalidArgument names the field.
Status check_spec(const ContainerSpec& spec);

// Fills in what the container takes from its image, which may be removed before it starts.
Status inherit(const oci::ImageConfig& image, Record& record);

// All that can be said before the root file system is there. Makes the bind sources that the spec
// wants made.
Result<runtime::SpecOptions> spec_options(const Record& record, const std::string& cgroup_parent);

}  // namespace skiff::engine
