#include "collective/certificates.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/fd.h"
#include "base/private_file.h"

namespace altlas::collective {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Memory = std::unique_ptr<BIO, decltype(&BIO_free)>;

struct Identity {
  Key key{nullptr, EVP_PKEY_free};
  Certificate certificate{nullptr, X509_free};
};

Error openssl_error(const std::string& what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const words = code == 0 ? nullptr : ERR_reason_error_string(code);
  return Error(ErrorCode::kInternal,
               fmt::format("{}: {}", what, words == nullptr ? "OpenSSL does not say why" : words));
}

CertificateFiles authority_files(const std::string& folder) {
  return {folder + "/ca.pem", folder + "/ca-key.pem"};
}

std::string text_of(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return {data, static_cast<size_t>(size)};
}

// Writes a file beside its place and moves it there: who reads it sees the old one or the new one.
Result<void> write_file(const std::string& path, const std::string& text, mode_t mode) {
  const std::string made = path + ".new";
  ::unlink(made.c_str());
  const Fd fd(::open(made.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  const bool written =
      fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written || ::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0 ||
      ::rename(made.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    ::unlink(made.c_str());
    return io_error(fmt::format("'{}' can't be written: {}", path, why));
  }
  return {};
}

Result<void> write_identity(const CertificateFiles& files, const Identity& identity) {
  const Memory key(BIO_new(BIO_s_mem()), BIO_free), certificate(BIO_new(BIO_s_mem()), BIO_free);
  if (PEM_write_bio_PrivateKey(key.get(), identity.key.get(), nullptr, nullptr, 0, nullptr,
                               nullptr) != 1 ||
      PEM_write_bio_X509(certificate.get(), identity.certificate.get()) != 1)
    return openssl_error("a certificate can't be written");
  ALTLAS_TRY_VOID(write_file(files.key, text_of(key.get()), 0600));
  return write_file(files.certificate, text_of(certificate.get()), 0644);
}

bool add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

using Extensions = std::vector<std::pair<int, std::string>>;

// Makes a key and its certificate, signed by `signer`; null: by itself.
Result<Identity> sign(const std::string& name, const Identity* signer, const Validity& validity,
                      const Extensions& extensions) {
  ERR_clear_error();
  Identity out;
  out.key.reset(EVP_EC_gen("P-256"));
  out.certificate.reset(X509_new());
  if (!out.key || !out.certificate) return openssl_error("a key can't be made");
  X509* const made = out.certificate.get();
  X509_set_version(made, X509_VERSION_3);
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof(serial));
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(made), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(made), validity.begins);
  X509_gmtime_adj(X509_getm_notAfter(made), validity.ends);
  X509_set_pubkey(made, out.key.get());
  const auto* const text = reinterpret_cast<const unsigned char*>(name.c_str());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8, text, -1, -1, 0);
  X509* const issuer = signer == nullptr ? made : signer->certificate.get();
  X509_set_issuer_name(made, X509_get_subject_name(issuer));
  for (const auto& [kind, value] : extensions)
    if (!add_extension(made, issuer, kind, value)) return openssl_error("an extension");
  if (X509_sign(made, signer == nullptr ? out.key.get() : signer->key.get(), EVP_sha256()) == 0)
    return openssl_error("a certificate can't be signed");
  return out;
}

Result<Identity> read_authority(const CertificateFiles& files) {
  ALTLAS_TRY_VOID(check_secret_file(files.key, "the authority's key"));
  struct stat info{};
  if (::stat(files.key.c_str(), &info) == 0 && (info.st_mode & 077) != 0)
    return invalid(
        fmt::format("the authority's key '{}' can be read by others: chmod 600 it, or "
                    "make a new authority in another folder",
                    files.key));
  Identity out;
  const Memory certificate(BIO_new_file(files.certificate.c_str(), "r"), BIO_free);
  const Memory key(BIO_new_file(files.key.c_str(), "r"), BIO_free);
  if (certificate)
    out.certificate.reset(PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
  if (key) out.key.reset(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!out.certificate || !out.key)
    return invalid(fmt::format("'{}' and '{}' are no PEM certificate and its key",
                               files.certificate, files.key));
  if (X509_check_private_key(out.certificate.get(), out.key.get()) != 1)
    return invalid(
        fmt::format("key '{}' is not of certificate '{}'", files.key, files.certificate));
  if (X509_cmp_current_time(X509_get0_notAfter(out.certificate.get())) < 0)
    return invalid(fmt::format("the authority '{}' has expired: make a new one in another folder",
                               files.certificate));
  return out;
}

Result<Identity> open_authority(const std::string& folder, const Validity& validity) {
  ALTLAS_TRY_VOID(make_private_folder(folder, "certs"));
  const CertificateFiles files = authority_files(folder);
  std::error_code ignored;
  const bool certificate = std::filesystem::exists(files.certificate, ignored);
  const bool key = std::filesystem::exists(files.key, ignored);
  if (certificate && !key)
    return invalid(
        fmt::format("'{}' is there without its key '{}': certificates are signed where "
                    "the key is",
                    files.certificate, files.key));
  if (key) return read_authority(files);
  ALTLAS_TRY(Identity made, sign("altlas authority", nullptr, validity,
                                 {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                  {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                  {NID_subject_key_identifier, "hash"}}));
  ALTLAS_TRY_VOID(write_identity(files, made));
  return made;
}

bool is_address(const std::string& name) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, name.c_str(), bytes) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

// A name is part of a path and of an extension's text: letters, digits, '.', '-', '_', and ':' of
// an address. "ca" is the authority's.
Result<void> check_name(const std::string& name) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_';
  };
  const bool host = !name.empty() && name.size() <= 64 && name.front() != '.' &&
                    name.front() != '-' && std::ranges::all_of(name, plain) && name != "ca" &&
                    name != "ca-key";
  if (host || is_address(name)) return {};
  return invalid(
      fmt::format("'{}' is no name for a certificate: write a host name or an address, "
                  "at most 64 letters, digits, '.', '-' and '_'",
                  name.substr(0, 100)));
}

}  // namespace

Result<CertificateFiles> make_authority(const std::string& folder, const Validity& validity) {
  ALTLAS_TRY_VOID(open_authority(folder, validity));
  return authority_files(folder);
}

Result<CertificateFiles> make_certificate(const std::string& folder, const std::string& name,
                                          const Validity& validity) {
  ALTLAS_TRY_VOID(check_name(name));
  ALTLAS_TRY(const Identity authority, open_authority(folder, {}));
  std::string names = fmt::format("{}:{}", is_address(name) ? "IP" : "DNS", name);
  if (name == "localhost") names += ",IP:127.0.0.1,IP:::1";
  // Workers of one replica connect to each other, so every certificate serves both ends.
  ALTLAS_TRY(const Identity made, sign(name, &authority, validity,
                                       {{NID_basic_constraints, "critical,CA:FALSE"},
                                        {NID_key_usage, "critical,digitalSignature"},
                                        {NID_ext_key_usage, "serverAuth,clientAuth"},
                                        {NID_subject_alt_name, names},
                                        {NID_authority_key_identifier, "keyid"}}));
  const CertificateFiles files{fmt::format("{}/{}.pem", folder, name),
                               fmt::format("{}/{}-key.pem", folder, name)};
  ALTLAS_TRY_VOID(write_identity(files, made));
  return files;
}

}  // namespace altlas::collective
