// Images as tar archives: OCI image layouts, and the layout of docker save.
//
// Export writes one archive that both worlds read: an OCI layout (oci-layout, index.json, blobs/)
// and, for kDocker, the manifest.json that docker load looks for, naming the same blobs.
// Import reads either, plain or compressed, in one pass over a stream.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "codec/json/json.h"
#include "codec/tar/reader.h"
#include "codec/tar/writer.h"
#include "image/image_service.h"
#include "image/library.h"

namespace skiff::image {

class ArchiveExport {
 public:
  ArchiveExport(const ImageService::Parts& parts, Library& library, const Context& context,
                const oci::Platform& platform, ByteSink& sink)
      : parts_(parts), library_(library), context_(context), platform_(platform), tar_(sink) {}

  // NotFound names the image or the blob that is not here.
  Status run(const std::vector<std::string>& names, ArchiveFormat format);

 private:
  Status add_image(const Image& image);
  Status add_blob(const oci::Descriptor& descriptor);
  Status add_text(const std::string& name, std::string_view text);
  Status add_folder(const std::string& name);

  const ImageService::Parts& parts_;
  Library& library_;
  const Context& context_;
  const oci::Platform& platform_;
  codec::tar::Writer tar_;
  std::map<Digest, bool> written_;
  json::Value index_manifests_ = json::Value::array();
  json::Value docker_manifests_ = json::Value::array();
};

// What an archive held, its content stored under the context's namespace and lease, durable.
struct ArchiveImage {
  std::string name;  // a canonical reference; empty: the archive gives none
  oci::Descriptor target;
};

class ArchiveImport {
 public:
  ArchiveImport(const ImageService::Parts& parts, const Context& context)
      : parts_(parts), context_(context) {}

  // InvalidArgument: this is no image archive, or it refers to what it does not hold. DataLoss: a
  // blob is not what its name says, or the archive ends early.
  Result<std::vector<ArchiveImage>> run(ByteSource& archive, const std::string& name);

 private:
  Status read_entry(codec::tar::Reader& tar, const codec::tar::Entry& entry);
  Status read_blob(codec::tar::Reader& tar, const codec::tar::Entry& entry, const std::string& path,
                   const Digest& digest);
  Result<std::string> read_text(codec::tar::Reader& tar, const codec::tar::Entry& entry);
  Result<std::vector<ArchiveImage>> images_of_index(const std::string& name);
  Result<std::vector<ArchiveImage>> images_of_docker_manifest(const std::string& name);
  Result<oci::Descriptor> docker_image(const json::Value& item);
  Result<oci::Descriptor> layer_of(const std::string& path);
  std::string follow_links(std::string path) const;

  const ImageService::Parts& parts_;
  const Context context_;
  std::map<std::string, std::string> texts_;  // small files by path
  size_t text_bytes_ = 0;
  std::map<std::string, oci::Descriptor> files_;  // big files by path, stored as blobs
  std::map<std::string, std::string> links_;      // docker's links between layer files
};

}  // namespace skiff::image
