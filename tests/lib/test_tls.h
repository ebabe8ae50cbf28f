// Certificates for tests, made when asked for: a CA and what it signs, as PEM files.
#pragma once

#include <string>

namespace skiff::testing {

struct CertFiles {
  std::string cert, key;
};

// A CA of its own in `dir` (which must exist): files ca.crt and ca.key. EC P-256 keys unless `rsa`
// (docker-registry checks token signatures made with RSA).
class TestCa {
 public:
  explicit TestCa(std::string dir, bool rsa = false);
  ~TestCa();
  TestCa(const TestCa&) = delete;

  // "<dir>/ca.crt"
  const std::string& cert_file() const { return cert_file_; }
  const std::string& key_file() const { return key_file_; }
  // Signs a certificate good for `name`, localhost and 127.0.0.1, for servers and for clients.
  CertFiles issue(const std::string& name) const;

 private:
  struct Impl;
  std::string dir_, cert_file_, key_file_;
  bool rsa_;
  Impl* impl_;
};

}  // namespace skiff::testing
