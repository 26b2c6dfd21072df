#include "server/http/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <fmt/format.h>

#include <fstream>
#include <iterator>

#include "base/byte_order_mark.h"
#include "base/private_file.h"
#include "base/strings.h"
#include "config/load.h"

namespace altlas::server {
namespace {

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0 || text.size() > 4096) return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(static_cast<size_t>(size) - padding);
  return out;
}

bool starts_with_scheme(std::string_view header, std::string_view scheme) {
  if (header.size() <= scheme.size() || header[scheme.size()] != ' ') return false;
  for (size_t i = 0; i < scheme.size(); ++i)
    if ((header[i] | 0x20) != (scheme[i] | 0x20)) return false;
  return true;
}

}  // namespace

Result<Auth> Auth::create(const config::AuthConfig& config) {
  std::vector<Key> keys;
  const auto add = [&](std::string_view key, std::string name, Role role,
                       std::string_view field) -> Result<void> {
    if (trim(key).empty())
      return invalid(fmt::format("{}: a key is empty: give it at least one character", field),
                     std::string(field));
    keys.push_back({content_hash(trim(key)), Identity{std::move(name), role}});
    return {};
  };
  for (const auto& key : config.keys)
    ALTLAS_TRY_VOID(add(key.key, key.name, key.role, "auth.keys"));
  for (const auto& key : config.api_keys)
    ALTLAS_TRY_VOID(add(key, "api-key", Role::kAdmin, "auth.api_keys"));
  if (!config.keys_file.empty()) {
    if (const auto closed = check_secret_file(config.keys_file, "auth.keys_file"); !closed.ok())
      return Error(closed.error()).with_field("auth.keys_file");
    std::ifstream file(config.keys_file);
    if (!file)
      return invalid(
          fmt::format(
              "auth.keys_file: '{}' can't be read: name a readable file with one key a line",
              config.keys_file),
          "auth.keys_file");
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const std::string name = fmt::format("auth.keys_file: '{}'", config.keys_file);
    const auto plain = skip_byte_order_mark(text, name);
    if (!plain.ok()) return Error(plain.error()).with_field("auth.keys_file");
    for (const std::string& key : config::parse_keys_file(*plain))
      ALTLAS_TRY_VOID(add(key, "api-key", Role::kAdmin, "auth.keys_file"));
  }
  Auth auth;
  auth.cell_->keys = std::make_shared<const std::vector<Key>>(std::move(keys));
  return auth;
}

bool Auth::take(const Auth& fresh) {
  const Keys from = fresh.keys();
  const std::lock_guard lock(cell_->mutex);
  const bool changed = *cell_->keys != *from;
  cell_->keys = from;
  return changed;
}

Result<Identity> Auth::identify(std::string_view authorization) const {
  const Keys keys = this->keys();
  if (keys->empty()) return Identity{};
  std::string key;
  if (starts_with_scheme(authorization, "Bearer")) {
    key = trim(authorization.substr(7));
  } else if (starts_with_scheme(authorization, "Basic")) {
    const auto decoded = base64_decode(trim(authorization.substr(6)));
    const size_t colon = decoded ? decoded->find(':') : std::string::npos;
    if (colon != std::string::npos) key = decoded->substr(colon + 1);
  }
  if (key.empty())
    return Error(
        ErrorCode::kUnauthorized,
        "no key was sent: send 'Authorization: Bearer KEY', or Basic with the key as password");
  const ContentHash digest = content_hash(key);
  const Key* found = nullptr;
  for (const Key& known : *keys)
    if (CRYPTO_memcmp(known.digest.bytes.data(), digest.bytes.data(), digest.bytes.size()) == 0)
      found = &known;
  if (found == nullptr)
    return Error(ErrorCode::kUnauthorized,
                 "the key is not known: send one that the server was started with");
  return found->identity;
}

Result<void> check_access(const Identity& identity, Access access) {
  const bool allowed = access == Access::kOpen || access == Access::kMetrics ||
                       identity.role == Role::kAdmin ||
                       (access == Access::kUser && identity.role == Role::kUser);
  if (allowed) return {};
  return Error(
      ErrorCode::kForbidden,
      fmt::format("the key '{}' has role {}, this needs {}", identity.name,
                  to_string(identity.role), access == Access::kAdmin ? "admin" : "user or admin"));
}

}  // namespace altlas::server
