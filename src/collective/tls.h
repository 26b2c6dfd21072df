// Who a rank is to the ranks of other machines: a certificate, its key, and whom it trusts.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX.

namespace altlas::collective {

// TLS 1.3, both ends show a certificate. Any certificate that the authority signed is a member, so
// the authority should sign nothing else. Const members from any thread.
class TlsIdentity {
 public:
  struct Files {
    std::string certificate, key, authority;  // PEM.
  };
  // Errors: kNotFound, kInvalid for a key that others may change or what can't be used, an expired
  // certificate among them; the message names the file.
  static Result<std::shared_ptr<const TlsIdentity>> load(const Files& files);
  // A key that exists in this process only, trusted by itself: for ranks that are threads.
  static Result<std::shared_ptr<const TlsIdentity>> make_ephemeral();

  ~TlsIdentity();
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;
  ssl_ctx_st* context() const { return context_; }

 private:
  explicit TlsIdentity(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* const context_;
};

// Compares without telling by its time where two secrets differ.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace altlas::collective
