#pragma once

#include <string_view>

namespace skiff::daemon {

// Tells the service manager (systemd's sd_notify protocol: a datagram to $NOTIFY_SOCKET) how far we
// are: "READY=1", "STOPPING=1". Does nothing where none listens.
void sd_notify(std::string_view state);

}  // namespace skiff::daemon
