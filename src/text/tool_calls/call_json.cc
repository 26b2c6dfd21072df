#include "text/tool_calls/call_json.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <optional>
#include <utility>

namespace altlas::text {

namespace json = boost::json;

namespace {

constexpr size_t kCallDepthMax = 64;
constexpr size_t kArgumentTextMax = 1 << 20;  // The most bytes of arguments that are a string.

// Returns a string's characters as JSON spells them, without the quotes.
std::string spelled(std::string_view text) {
  const std::string quoted = json::serialize(json::string(text));
  return quoted.substr(1, quoted.size() - 2);
}

std::optional<std::string> compact_object(std::string_view text);

// Receives the events of a JSON parser.
class CallHandler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);
  using Failure = boost::system::error_code;

  CallHandler(CallSink& sink, bool begun) : sink_(&sink), begun_(begun) {
    where_.push_back(begun ? Where::kNamed : Where::kTop);
  }

  bool on_document_begin(Failure&) { return true; }
  bool on_document_end(Failure&) { return true; }

  bool on_object_begin(Failure& failure) {
    switch (where_.back()) {
      case Where::kTop:
      case Where::kList:
        name_.reset();
        pending_.clear();
        begun_ = has_arguments_ = false;
        where_.push_back(Where::kCall);
        return true;
      case Where::kCall:
        if (key_ == "function") {
          where_.push_back(Where::kCall);
          return true;
        }
        if (!names_arguments()) {
          where_.push_back(Where::kOther);
          return true;
        }
        if (!start_arguments()) return fail(failure);
        break;
      case Where::kOther:
        where_.push_back(Where::kOther);
        return true;
      case Where::kArguments:
        separate();
        break;
      case Where::kNamed:
        break;
    }
    open("{");
    return true;
  }
  bool on_object_end(size_t, Failure& failure) {
    const Where left = where_.back();
    where_.pop_back();
    if (left == Where::kArguments) close("}");
    const bool ended =
        left == Where::kCall && (where_.back() == Where::kTop || where_.back() == Where::kList);
    if (ended) return end_call() || fail(failure);
    if (where_.back() == Where::kNamed) sink_->end();
    return true;
  }
  bool on_array_begin(Failure& failure) {
    switch (where_.back()) {
      case Where::kTop:
        where_.push_back(Where::kList);
        return true;
      case Where::kCall:
        if (names_arguments()) return fail(failure);
        where_.push_back(Where::kOther);
        return true;
      case Where::kOther:
        where_.push_back(Where::kOther);
        return true;
      case Where::kArguments:
        separate();
        open("[");
        return true;
      case Where::kList:
      case Where::kNamed:
        break;
    }
    return fail(failure);
  }
  bool on_array_end(size_t, Failure&) {
    const Where left = where_.back();
    where_.pop_back();
    if (left == Where::kArguments) close("]");
    return true;
  }

  bool on_key_part(std::string_view part, size_t, Failure&) {
    if (where_.back() == Where::kCall) {
      if (std::exchange(key_over_, false)) key_.clear();
      key_ += part;
    } else if (where_.back() == Where::kArguments) {
      if (!std::exchange(in_text_, true)) {
        separate();
        out("\"");
      }
      out(spelled(part));
    }
    return true;
  }
  bool on_key(std::string_view part, size_t size, Failure& failure) {
    on_key_part(part, size, failure);
    key_over_ = true;
    if (where_.back() != Where::kArguments) return true;
    out("\":");
    in_text_ = false;
    after_key_ = true;
    return true;
  }
  bool on_string_part(std::string_view part, size_t, Failure& failure) {
    switch (where_.back()) {
      case Where::kArguments:
        if (!std::exchange(in_text_, true)) {
          separate();
          out("\"");
        }
        out(spelled(part));
        return true;
      case Where::kCall:
        if (key_ == "name" || names_arguments()) text_ += part;
        return text_.size() <= kArgumentTextMax || fail(failure);
      case Where::kOther:
        return true;
      default:
        return fail(failure);
    }
  }
  bool on_string(std::string_view part, size_t size, Failure& failure) {
    if (!on_string_part(part, size, failure)) return false;
    if (where_.back() == Where::kArguments) {
      out("\"");
      in_text_ = false;
      return true;
    }
    if (where_.back() != Where::kCall) return true;
    const std::string text = std::exchange(text_, {});
    if (key_ == "name") return take_name(text) || fail(failure);
    if (!names_arguments()) return true;
    const auto inner = compact_object(text);
    if (!inner || !start_arguments()) return fail(failure);
    out(*inner);
    return true;
  }
  bool on_number_part(std::string_view part, Failure& failure) {
    if (where_.back() != Where::kArguments) return other_scalar(failure);
    if (!std::exchange(in_text_, true)) separate();
    out(part);
    return true;
  }
  bool on_int64(int64_t, std::string_view part, Failure& failure) { return number(part, failure); }
  bool on_uint64(uint64_t, std::string_view part, Failure& failure) {
    return number(part, failure);
  }
  bool on_double(double, std::string_view part, Failure& failure) { return number(part, failure); }
  bool on_bool(bool value, Failure& failure) { return word(value ? "true" : "false", failure); }
  bool on_null(Failure& failure) {
    // null counts as left out.
    if (where_.back() == Where::kCall && names_arguments()) return true;
    return word("null", failure);
  }
  bool on_comment_part(std::string_view, Failure&) { return true; }
  bool on_comment(std::string_view, Failure&) { return true; }

 private:
  // The kind of the innermost open bracket.
  enum class Where : uint8_t { kTop, kList, kCall, kArguments, kOther, kNamed };

  static bool fail(Failure& failure) {
    failure = json::make_error_code(json::error::syntax);
    return false;
  }
  bool names_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  void out(std::string_view text) {
    if (begun_)
      sink_->arguments(text);
    else
      pending_ += text;
  }
  // Called before each value within the arguments.
  void separate() {
    if (std::exchange(after_key_, false)) return;
    if (!std::exchange(first_, false)) out(",");
  }
  void open(std::string_view bracket) {
    out(bracket);
    where_.push_back(Where::kArguments);
    first_ = true;
  }
  void close(std::string_view bracket) {
    out(bracket);
    first_ = false;
  }
  bool number(std::string_view part, Failure& failure) {
    if (!on_number_part(part, failure)) return false;
    in_text_ = false;
    return true;
  }
  bool word(std::string_view text, Failure& failure) {
    if (where_.back() != Where::kArguments) return other_scalar(failure);
    separate();
    out(text);
    return true;
  }
  // Handles a number, true, false or null outside of the arguments.
  bool other_scalar(Failure& failure) {
    const bool fits = where_.back() == Where::kOther ||
                      (where_.back() == Where::kCall && key_ != "name" && !names_arguments());
    return fits || fail(failure);
  }
  bool begin() {
    if (begun_) return true;
    if (!sink_->begin(*name_)) return false;
    begun_ = true;
    if (!pending_.empty()) sink_->arguments(std::exchange(pending_, {}));
    return true;
  }
  bool take_name(const std::string& name) {
    if (name_) return false;
    name_ = name;
    return !has_arguments_ || begin();
  }
  bool start_arguments() {
    if (std::exchange(has_arguments_, true)) return false;
    return !name_ || begin();
  }
  bool end_call() {
    if (!name_ || !begin()) return false;
    if (!has_arguments_) out("{}");
    sink_->end();
    return true;
  }

  CallSink* sink_;
  std::vector<Where> where_;
  std::string key_, text_;
  bool key_over_ = true;
  std::optional<std::string> name_;
  std::string pending_;  // Arguments that came before the name.
  bool begun_;           // The sink knows of the call.
  bool has_arguments_ = false;
  bool in_text_ = false;    // The position is within a key, a string or a number of the arguments.
  bool after_key_ = false;  // The next value of the arguments needs no comma.
  bool first_ = true;
};

json::parse_options options() {
  json::parse_options out;
  out.max_depth = kCallDepthMax;
  return out;
}

std::optional<std::string> compact_object(std::string_view text) {
  static const std::vector<std::string> kTools = {""};
  CallSink sink(kTools);
  sink.begin("");
  CallJson reader(sink, /*begun=*/true);
  for (size_t i = 0; i < text.size(); ++i) {
    const CallStatus status = reader.push(text[i]);
    if (status == CallStatus::kBad) return std::nullopt;
    if (status == CallStatus::kMore) continue;
    if (text.find_first_not_of(" \t\r\n", i + 1) != std::string_view::npos) return std::nullopt;
    std::string out;
    for (const CallSink::Piece& piece : sink.take())
      if (piece.kind == CallSink::Piece::Kind::kArguments) out += piece.text;
    return out;
  }
  return std::nullopt;
}

}  // namespace

bool CallSink::begin(const std::string& name) {
  if (std::ranges::find(*tools_, name) == tools_->end()) return false;
  pieces_.push_back({Piece::Kind::kBegin, name});
  open_ = true;
  return true;
}

void CallSink::arguments(std::string_view text) {
  if (pieces_.empty() || pieces_.back().kind != Piece::Kind::kArguments)
    pieces_.push_back({Piece::Kind::kArguments, ""});
  pieces_.back().text += text;
}

void CallSink::end() {
  pieces_.push_back({Piece::Kind::kEnd, ""});
  open_ = false;
  ++ended_;
}

std::vector<CallSink::Piece> CallSink::take() { return std::exchange(pieces_, {}); }

struct CallJson::Impl {
  Impl(CallSink& sink, bool begun) : parser(options(), sink, begun) {}
  json::basic_parser<CallHandler> parser;
};

CallJson::CallJson(CallSink& sink, bool begun) : impl_(std::make_unique<Impl>(sink, begun)) {}
CallJson::~CallJson() = default;
CallJson::CallJson(CallJson&&) noexcept = default;
CallJson& CallJson::operator=(CallJson&&) noexcept = default;

CallStatus CallJson::push(char c) {
  boost::system::error_code failure;
  impl_->parser.write_some(/*more=*/true, &c, 1, failure);
  if (failure) return CallStatus::kBad;
  return impl_->parser.done() ? CallStatus::kDone : CallStatus::kMore;
}

}  // namespace altlas::text
