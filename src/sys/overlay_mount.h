// Overlay mounts with any number of lower folders. For sys/mount.cc; others use sys::mount.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "sys/file.h"

namespace skiff::sys {

// `options` are overlay's own ("lowerdir=/a:/b", "index=off"); `flags` those of mount(2).
Status mount_overlay(const std::string& source, const std::vector<std::string>& options,
                     unsigned long flags, const Path& target);

// The ways to do it, apart for tests. kAuto takes the first that this kernel and these paths allow.
enum class OverlayForm {
  kAuto,
  kConfig,    // fsconfig(2), a call a lower folder
  kPage,      // mount(2): all options within a page
  kRelative,  // mount(2) on a thread whose working directory is the folders' common parent
};
Status mount_overlay_as(OverlayForm form, const std::string& source,
                        const std::vector<std::string>& options, unsigned long flags,
                        const Path& target);

// "a\:b:c" -> {"a:b", "c"}: overlay's own escapes.
std::vector<std::string> split_lowers(const std::string& lowerdir);

}  // namespace skiff::sys
