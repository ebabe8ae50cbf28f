#include "serve/native/native.h"

#include "serve/native/services.h"
#include "sys/thread.h"

namespace skiff::native {
namespace {

class NativeFace : public Face {
 public:
  explicit NativeFace(Parts parts) : parts_(std::move(parts)) {}
  void add_to(ttrpc::Server& server) {
    server.add(images_service(parts_));
    server.add(containers_service(parts_, pool_));
    server.add(system_service(parts_));
  }

 private:
  const Parts parts_;
  // Starts containers, and sends what ends a wait; apart from the server's workers, so that a host
  // full of pulls still runs containers.
  sys::WorkerPool pool_{{.name = "skiff-run", .max_threads = 32, .stack_size = 512 * 1024}};
};

}  // namespace

std::unique_ptr<Face> add_services(ttrpc::Server& server, Parts parts) {
  auto face = std::make_unique<NativeFace>(std::move(parts));
  face->add_to(server);
  return face;
}

}  // namespace skiff::native
