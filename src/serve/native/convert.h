// Between the engine's values and the messages of skiff.v1.
#pragma once

#include "engine/engine.h"
#include "image/image_service.h"
#include "serve/native/api.h"

namespace skiff::native {

// The reference or platform that a request names; an empty platform is this machine's.
Result<oci::Platform> platform_of(const std::string& text);

registry::Access to_access(const Access& access);
Progress to_message(const image::Progress& progress);
Image to_message(const image::Image& image);
Image to_message(const image::ImageSummary& summary);
PullResult to_message(const image::PullResult& result);
Container to_message(const engine::ContainerInfo& info);
Exited to_message(const engine::ExitStatus& status);

// InvalidArgument for values that the API does not know.
Result<engine::ContainerSpec> to_spec(ContainerSpec message);
engine::TerminalSize to_size(const TerminalSize& message);

}  // namespace skiff::native
