#include "collective/tls.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <filesystem>

#include "base/private_file.h"

namespace altlas::collective {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

std::string openssl_words() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const words = code == 0 ? nullptr : ERR_reason_error_string(code);
  return words == nullptr ? "OpenSSL does not say why" : words;
}

SSL_CTX* make_context() {
  SSL_CTX* const context = SSL_CTX_new(TLS_method());
  ALTLAS_CHECK(context != nullptr, "OpenSSL has TLS");
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  // Every message is preceded by its size, so an end in the middle of one is noticed anyway.
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  return context;
}

// Makes a self-signed certificate for one day. Its name means nothing, since only the key counts.
Certificate sign_itself(EVP_PKEY* key) {
  Certificate certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), X509_VERSION_3);
  uint32_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial));
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24 * 60 * 60);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME* const name = X509_get_subject_name(certificate.get());
  const auto* const text = reinterpret_cast<const unsigned char*>("altlas collective");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  if (X509_sign(certificate.get(), key, EVP_sha256()) == 0) return {nullptr, X509_free};
  return certificate;
}

}  // namespace

Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::load(const Files& files) {
  for (const std::string& file : {files.certificate, files.key, files.authority})
    if (std::error_code ignored; !std::filesystem::is_regular_file(file, ignored))
      return not_found(fmt::format("'{}' is no file", file));
  ALTLAS_TRY_VOID(check_secret_file(files.key, "key"));
  ERR_clear_error();
  std::shared_ptr<const TlsIdentity> identity(new TlsIdentity(make_context()));
  SSL_CTX* const context = identity->context();
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1)
    return invalid(fmt::format("certificate '{}': {}", files.certificate, openssl_words()));
  if (X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(context))) < 0)
    return invalid(fmt::format("certificate '{}' has expired", files.certificate));
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return invalid(fmt::format("key '{}': {}", files.key, openssl_words()));
  if (SSL_CTX_check_private_key(context) != 1)
    return invalid(
        fmt::format("key '{}' is not of certificate '{}'", files.key, files.certificate));
  if (SSL_CTX_load_verify_file(context, files.authority.c_str()) != 1)
    return invalid(fmt::format("authority '{}': {}", files.authority, openssl_words()));
  return identity;
}

Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::make_ephemeral() {
  ERR_clear_error();
  const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  Certificate certificate = key ? sign_itself(key.get()) : Certificate(nullptr, X509_free);
  if (!certificate) return Error(ErrorCode::kInternal, "a certificate: " + openssl_words());
  std::shared_ptr<const TlsIdentity> identity(new TlsIdentity(make_context()));
  SSL_CTX* const context = identity->context();
  X509_STORE* const trusted = SSL_CTX_get_cert_store(context);
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1 ||
      X509_STORE_add_cert(trusted, certificate.get()) != 1)
    return Error(ErrorCode::kInternal, "a certificate: " + openssl_words());
  X509_STORE_set_flags(trusted, X509_V_FLAG_PARTIAL_CHAIN);
  return identity;
}

TlsIdentity::~TlsIdentity() { SSL_CTX_free(context_); }

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace altlas::collective
