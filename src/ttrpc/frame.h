// ttrpc's frames and the two envelopes inside them.
//
// A frame is a 10-byte header (length u32 BE, stream id u32 BE, type u8, flags u8) and at most 4
// MiB of data. Clients open streams with odd, rising ids. A unary call is a Request frame answered
// by a Response frame; a server stream is a Request with kRemoteClosed, any number of Data frames
// and a Response with the final status. Fact source: the protocol description of containerd's
// ttrpc, checked against its runc shim.
//
// Two extensions are ours; other peers never see them unless asked for:
// - file descriptors: a Request or Response frame may carry up to 16 as SCM_RIGHTS, attached to the
//   frame's first byte;
// - cancellation: a client that no longer wants an answer sends a Data frame with kRemoteClosed |
//   kNoData for that stream. Other servers ignore it (the runc shim of containerd 1.6) or answer a
//   stream that nobody waits for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "ttrpc/message.h"
#include "ttrpc/well_known.h"

namespace skiff::ttrpc {

inline constexpr size_t kHeaderSize = 10;
inline constexpr size_t kMaxData = 4 << 20;

enum class FrameType : uint8_t { kRequest = 1, kResponse = 2, kData = 3 };
enum FrameFlags : uint8_t { kRemoteClosed = 1, kRemoteOpen = 2, kNoData = 4 };

struct FrameHeader {
  uint32_t length = 0;
  uint32_t stream = 0;
  FrameType type = FrameType::kRequest;
  uint8_t flags = 0;
};
void put_header(std::string& out, const FrameHeader& header);
// Reads kHeaderSize bytes; any bits are a header (the length may exceed kMaxData).
FrameHeader parse_header(const char* bytes);

struct Frame {
  uint32_t stream = 0;
  FrameType type = FrameType::kRequest;
  uint8_t flags = 0;
  std::string data;
  std::vector<sys::UniqueFd> fds;
  bool oversize = false;  // announced more than kMaxData; its data was read and dropped
};

// Metadata keys that carry a Context.
inline constexpr char kNamespaceKey[] = "containerd-namespace-ttrpc";
inline constexpr char kLeaseKey[] = "containerd-lease";
inline constexpr char kTraceKey[] = "skiff-trace-id";

struct KeyValue {
  std::string key, value;
  template <class V>
  void fields(V& v) {
    v(1, key);
    v(2, value);
  }
};

struct RequestEnvelope {
  std::string service, method, payload;
  int64_t timeout_nano = 0;
  std::vector<KeyValue> metadata;
  template <class V>
  void fields(V& v) {
    v(1, service);
    v(2, method);
    v(3, payload);
    v(4, timeout_nano);
    v(5, metadata);
  }
};

// google.rpc.Status
struct WireStatus {
  int32_t code = 0;
  std::string message;
  std::vector<Any> details;
  template <class V>
  void fields(V& v) {
    v(1, code);
    v(2, message);
    v(3, details);
  }
};

struct ResponseEnvelope {
  std::optional<WireStatus> status;
  std::string payload;
  template <class V>
  void fields(V& v) {
    v(1, status);
    v(2, payload);
  }
};

WireStatus to_status(const Error& error);
// Ok for code 0; a code outside gRPC's is kUnknown.
Status from_status(const WireStatus& status);

}  // namespace skiff::ttrpc
