#include "codec/hash.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace skiff::codec {
namespace {

EVP_MD_CTX* as_evp(void* context) { return static_cast<EVP_MD_CTX*>(context); }

// Looked up once: a fetch walks OpenSSL's provider tables under a lock.
const EVP_MD* method(DigestAlgorithm algorithm) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  static const EVP_MD* const sha512 = EVP_MD_fetch(nullptr, "SHA2-512", nullptr);
  return algorithm == DigestAlgorithm::kSha256 ? sha256 : sha512;
}

void start(EVP_MD_CTX* context, DigestAlgorithm algorithm) {
  SKIFF_CHECK(EVP_DigestInit_ex(context, method(algorithm), nullptr) == 1, "OpenSSL has SHA-2");
}

constexpr size_t kBufferBytes = 256 << 10;

}  // namespace

void Hasher::Free::operator()(void* context) const { EVP_MD_CTX_free(as_evp(context)); }

Hasher::Hasher(DigestAlgorithm algorithm) : algorithm_(algorithm), context_(EVP_MD_CTX_new()) {
  SKIFF_CHECK(context_ != nullptr, "memory for a hash");
  start(as_evp(context_.get()), algorithm_);
}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(Bytes bytes) {
  SKIFF_CHECK(EVP_DigestUpdate(as_evp(context_.get()), bytes.data(), bytes.size()) == 1,
              "SHA-2 takes any bytes");
}

Digest Hasher::finish() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  SKIFF_CHECK(EVP_DigestFinal_ex(as_evp(context_.get()), bytes, &size) == 1, "SHA-2 ends");
  start(as_evp(context_.get()), algorithm_);
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += kDigits[bytes[i] >> 4];
    hex += kDigits[bytes[i] & 15];
  }
  return Digest::from_hex(algorithm_, std::move(hex));
}

Digest digest_of(Bytes bytes, DigestAlgorithm algorithm) {
  Hasher hasher(algorithm);
  hasher.update(bytes);
  return hasher.finish();
}

Result<Digest> digest_of(ByteSource& source, DigestAlgorithm algorithm) {
  Hasher hasher(algorithm);
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
  while (size_t n = SKIFF_TRY(source.read({buffer.get(), kBufferBytes})))
    hasher.update({buffer.get(), n});
  return hasher.finish();
}

Result<size_t> HashingSource::read(MutableBytes buffer) {
  size_t n = SKIFF_TRY(source_.read(buffer));
  hasher_.update(buffer.first(n));
  size_ += n;
  return n;
}

Status HashingSink::write(Bytes bytes) {
  hasher_.update(bytes);
  size_ += bytes.size();
  return sink_.write(bytes);
}

}  // namespace skiff::codec
