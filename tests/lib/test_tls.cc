#include "tests/lib/test_tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <stdexcept>

namespace skiff::testing {
namespace {

void need(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(std::string("test certificates: ") + what);
}

EVP_PKEY* make_key(bool rsa) {
  EVP_PKEY* key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
  need(key, "make a key");
  return key;
}

template <typename Write>
void write_pem(const std::string& path, Write write) {
  FILE* file = fopen(path.c_str(), "we");
  need(file, path.c_str());
  need(write(file) == 1, path.c_str());
  fclose(file);
}

void add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  need(extension, value.c_str());
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* make_cert(const std::string& name, EVP_PKEY* key) {
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return cert;
}

CertFiles write_pair(const std::string& base, X509* cert, EVP_PKEY* key) {
  CertFiles files{base + ".crt", base + ".key"};
  write_pem(files.cert, [&](FILE* f) { return PEM_write_X509(f, cert); });
  write_pem(files.key, [&](FILE* f) {
    return PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
  return files;
}

}  // namespace

struct TestCa::Impl {
  EVP_PKEY* key;
  X509* cert;
};

TestCa::TestCa(std::string dir, bool rsa) : dir_(std::move(dir)), rsa_(rsa) {
  EVP_PKEY* key = make_key(rsa_);
  X509* cert = make_cert("skiff test CA", key);
  X509_set_issuer_name(cert, X509_get_subject_name(cert));
  add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature");
  add_extension(cert, cert, NID_subject_key_identifier, "hash");
  need(X509_sign(cert, key, EVP_sha256()) > 0, "sign the CA");
  impl_ = new Impl{key, cert};
  CertFiles files = write_pair(dir_ + "/ca", cert, key);
  cert_file_ = files.cert;
  key_file_ = files.key;
}

TestCa::~TestCa() {
  X509_free(impl_->cert);
  EVP_PKEY_free(impl_->key);
  delete impl_;
}

CertFiles TestCa::issue(const std::string& name) const {
  EVP_PKEY* key = make_key(rsa_);
  X509* cert = make_cert(name, key);
  X509_set_issuer_name(cert, X509_get_subject_name(impl_->cert));
  add_extension(cert, impl_->cert, NID_subject_alt_name,
                "DNS:" + name + ",DNS:localhost,IP:127.0.0.1");
  add_extension(cert, impl_->cert, NID_ext_key_usage, "serverAuth,clientAuth");
  add_extension(cert, impl_->cert, NID_authority_key_identifier, "keyid");
  need(X509_sign(cert, impl_->key, EVP_sha256()) > 0, "sign a certificate");
  CertFiles files = write_pair(dir_ + "/" + name, cert, key);
  X509_free(cert);
  EVP_PKEY_free(key);
  return files;
}

}  // namespace skiff::testing
