// One pull, from reference to visible name. docs/life-of-a-pull.md follows it step by step.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "image/blob_flight.h"
#include "image/image_service.h"
#include "image/internal.h"
#include "image/trace.h"
#include "image/unpack_flight.h"

namespace skiff::image {

// A single use object: construct, run.
class Pull {
 public:
  Pull(const ImageService::Parts& parts, BlobFlights& blobs, UnpackFlights& unpacks,
       snapshot::Snapshotter& snapshotter, const Context& context, const oci::Reference& reference,
       const PullOptions& options, const ProgressFn& progress);

  Result<PullResult> run();

 private:
  // A layer that this pull waits for.
  struct Pending {
    size_t index;
    BlobFlights::Seat blob;
    UnpackFlights::Seat unpack;  // empty without unpack
    bool blob_done = false;
    bool unpack_done = false;
    bool done() const { return blob_done && (unpack_done || !unpack); }
  };

  Status resolve();
  Status read_index(const oci::Descriptor& descriptor, int depth);
  Result<std::string> document(const oci::Descriptor& descriptor);
  Status read_manifest(const oci::Descriptor& descriptor);
  Status read_config();
  Result<bool> already_here();
  Status prove_access();
  Status find_present_layers();
  void join_flights();
  Status await_layers();
  Status await(Pending& pending, bool sleep);
  Status take_over_blobs();
  Status make_visible();
  metadata::Labels source_labels() const;
  metadata::Labels layer_labels(size_t index) const;
  void report(bool final);
  void collect_trace();

  const ImageService::Parts& parts_;
  BlobFlights& blobs_;
  UnpackFlights& unpacks_;
  snapshot::Snapshotter& snapshotter_;
  HeldLease lease_;
  const Context context_;  // the caller's, under the lease
  const oci::Reference reference_;
  const PullOptions& options_;
  const ProgressFn& progress_;

  registry::Resolved resolved_;
  oci::Descriptor manifest_descriptor_;
  oci::Manifest manifest_;
  oci::ImageConfig config_;
  // Documents read on the way down, stored with their labels: (descriptor, body, labels).
  struct Document {
    oci::Descriptor descriptor;
    std::string body;
    metadata::Labels labels;
  };
  std::vector<Document> documents_;
  std::vector<LayerPlanPtr> layers_;
  std::vector<Pending> pending_;
  std::vector<LayerProgress> shown_;
  std::chrono::steady_clock::time_point last_report_{};
  std::vector<Span> spans_;
  PullResult result_;
};

}  // namespace skiff::image
