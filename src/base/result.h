// Result<T>: a value or an Error. Operating faults travel in it; bugs abort (check.h); nothing of
// ours throws.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/check.h"

namespace altlas {

enum class ErrorCode : uint8_t {
  kInvalid,       // The input is wrong: 400.
  kUnauthorized,  // No key, or a wrong one: 401.
  kForbidden,     // The key's role does not allow it: 403.
  kNotFound,      // 404.
  kConflict,      // The state does not allow it: 409.
  kTooLarge,      // 413.
  kUnsupported,   // Media type: 415.
  kBusy,          // A limit is reached; later may work: 429.
  kUnavailable,   // Starting, draining, or nothing healthy: 503.
  kDeadline,      // 504.
  kCanceled,      // The asker went away or cancelled: 499.
  kDevice,        // A device or its driver failed.
  kIo,            // Disk or network failed.
  kInternal,      // A bug that was caught: 500.
};

std::string_view to_string(ErrorCode code);

// Error::reason() of a prompt that is too long, alone or with its answer; OpenAI's word for it.
inline constexpr std::string_view kContextLengthExceeded = "context_length_exceeded";

// What was wrong and what would be right. One pointer in size; copyable.
class Error {
 public:
  Error(ErrorCode code, std::string message)
      : detail_(std::make_shared<Detail>(Detail{code, std::move(message), "", "", 0})) {}

  ErrorCode code() const { return detail_->code; }
  const std::string& message() const { return detail_->message; }
  // Dotted path of the offending field ("gpu_options.strategy"), or empty.
  const std::string& field() const { return detail_->field; }
  // A word for programs where the code says too little ("context_length_exceeded"), or empty.
  const std::string& reason() const { return detail_->reason; }
  // When to try again, 0 if unknown.
  int64_t retry_after_ms() const { return detail_->retry_after_ms; }

  Error with_field(std::string field) && {
    detail_ = std::make_shared<Detail>(*detail_);
    detail_->field = std::move(field);
    return std::move(*this);
  }
  Error with_reason(std::string_view reason) && {
    detail_ = std::make_shared<Detail>(*detail_);
    detail_->reason = reason;
    return std::move(*this);
  }
  Error with_retry_after_ms(int64_t ms) && {
    detail_ = std::make_shared<Detail>(*detail_);
    detail_->retry_after_ms = ms;
    return std::move(*this);
  }
  // "while doing X: message", the code and field kept.
  Error with_context(std::string_view context) && {
    detail_ = std::make_shared<Detail>(*detail_);
    detail_->message = std::string(context) + ": " + detail_->message;
    return std::move(*this);
  }

 private:
  struct Detail {
    ErrorCode code;
    std::string message;
    std::string field;
    std::string reason;
    int64_t retry_after_ms;
  };
  std::shared_ptr<Detail> detail_;
};

inline Error invalid(std::string message, std::string field = "") {
  return Error(ErrorCode::kInvalid, std::move(message)).with_field(std::move(field));
}
inline Error not_found(std::string message) {
  return Error(ErrorCode::kNotFound, std::move(message));
}
inline Error io_error(std::string message) { return Error(ErrorCode::kIo, std::move(message)); }
inline Error unavailable(std::string message) {
  return Error(ErrorCode::kUnavailable, std::move(message));
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit on purpose.
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit on purpose.

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    ALTLAS_CHECK(ok(), error().message());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    ALTLAS_CHECK(ok(), error().message());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    ALTLAS_CHECK(ok(), error().message());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose.
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  void value() const { ALTLAS_CHECK(ok(), error().message()); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

namespace detail {
template <class T>
T&& take(Result<T>& result) {
  return std::move(result).value();
}
inline void take(Result<void>&) {}
}  // namespace detail

}  // namespace altlas

#define ALTLAS_CONCAT_(a, b) a##b
#define ALTLAS_CONCAT(a, b) ALTLAS_CONCAT_(a, b)

// ALTLAS_TRY(declaration, expression): declares it from the value, or returns the Error.
// ALTLAS_TRY_VOID(expression): for Result<void>.  The CO_ variants are for coroutines.
#define ALTLAS_TRY_IMPL_(ret, tmp, decl, ...) \
  auto tmp = (__VA_ARGS__);                   \
  if (!tmp.ok()) [[unlikely]]                 \
    ret tmp.error();                          \
  decl = ::altlas::detail::take(tmp)
#define ALTLAS_TRY(decl, ...) \
  ALTLAS_TRY_IMPL_(return, ALTLAS_CONCAT(try_, __LINE__), decl, __VA_ARGS__)
#define ALTLAS_CO_TRY(decl, ...) \
  ALTLAS_TRY_IMPL_(co_return, ALTLAS_CONCAT(try_, __LINE__), decl, __VA_ARGS__)
#define ALTLAS_TRY_VOID_IMPL_(ret, tmp, ...)            \
  if (auto tmp = (__VA_ARGS__); !tmp.ok()) [[unlikely]] \
  ret tmp.error()
#define ALTLAS_TRY_VOID(...) \
  ALTLAS_TRY_VOID_IMPL_(return, ALTLAS_CONCAT(try_, __LINE__), __VA_ARGS__)
#define ALTLAS_CO_TRY_VOID(...) \
  ALTLAS_TRY_VOID_IMPL_(co_return, ALTLAS_CONCAT(try_, __LINE__), __VA_ARGS__)
