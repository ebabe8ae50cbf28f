// The daemon's own credentials, from the one file that its configuration names, for requests that
// bring none for a host.
#pragma once

#include <memory>

#include "registry/registry.h"
#include "sys/file.h"

namespace skiff::daemon {

// What `first` (may be null) has for a host, else what the file has; the file is read anew each
// time.
registry::CredentialSourcePtr with_file(registry::CredentialSourcePtr first, sys::Path file);

// The same resolver, asking under such credentials.
std::unique_ptr<registry::Resolver> with_default_credentials(
    std::unique_ptr<registry::Resolver> resolver, sys::Path file);

}  // namespace skiff::daemon
