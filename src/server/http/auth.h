// Keys and roles: who may ask what.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/content_hash.h"
#include "base/result.h"
#include "config/config.h"
#include "server/http/http.h"
#include "server/http/route.h"

namespace altlas::server {

// Any thread.
class Auth {
 public:
  // Reads keys_file, if one is named.  Errors: kInvalid for a file that can't be read or an empty
  // key.
  static Result<Auth> create(const config::AuthConfig& config);
  bool has_keys() const { return !keys()->empty(); }
  size_t key_count() const { return keys()->size(); }
  // The keys of `fresh` from now on, and no others. Whether they are other keys, names or roles.
  bool take(const Auth& fresh);
  // From an Authorization header ("Bearer KEY", or Basic with the key as password). With no key
  // configured everybody is admin.  Errors: kUnauthorized.
  Result<Identity> identify(std::string_view authorization) const;

 private:
  struct Key {
    ContentHash digest;  // A hash, so that comparing takes the same time whatever is sent.
    Identity identity;
    bool operator==(const Key& other) const {
      return digest == other.digest && identity.name == other.identity.name &&
             identity.role == other.identity.role;
    }
  };
  using Keys = std::shared_ptr<const std::vector<Key>>;
  struct Cell {
    std::mutex mutex;
    Keys keys;
  };
  Auth() : cell_(std::make_unique<Cell>()) {}
  Keys keys() const {
    const std::lock_guard lock(cell_->mutex);
    return cell_->keys;
  }
  std::unique_ptr<Cell> cell_;
};

// Errors: kForbidden.
Result<void> check_access(const Identity& identity, Access access);

}  // namespace altlas::server
