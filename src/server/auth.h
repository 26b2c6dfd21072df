// Keys and roles: who may ask what.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "server/http.h"
#include "server/route.h"

namespace altlas::server {

// Const after create(); any thread.
class Auth {
 public:
  // Reads keys_file, if one is named.  Errors: kInvalid for a file that can't be read or an empty
  // key.
  static Result<Auth> create(const config::AuthConfig& config);
  bool has_keys() const { return !keys_.empty(); }
  // From an Authorization header ("Bearer KEY", or Basic with the key as password). With no key
  // configured everybody is admin.  Errors: kUnauthorized.
  Result<Identity> identify(std::string_view authorization) const;

 private:
  struct Key {
    std::string digest;  // SHA-256, so that comparing takes the same time whatever is sent.
    Identity identity;
  };
  std::vector<Key> keys_;
};

// Errors: kForbidden.
Result<void> check_access(const Identity& identity, Access access);

}  // namespace altlas::server
