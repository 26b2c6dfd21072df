#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/byte_order_mark.h"
#include "base/utf8.h"
#include "config/document.h"

namespace altlas::config {
namespace {

namespace json = boost::json;

Node from_json(const json::value& value) {
  Node node;
  switch (value.kind()) {
    case json::kind::null:
      break;
    case json::kind::string:
      node = {.kind = Node::Kind::kScalar, .text = std::string(value.get_string()), .quoted = true};
      break;
    case json::kind::array:
      node.kind = Node::Kind::kList;
      for (const json::value& item : value.get_array()) node.children.push_back(from_json(item));
      break;
    case json::kind::object:
      node.kind = Node::Kind::kMap;
      for (const auto& [key, item] : value.get_object()) {
        node.children.push_back(from_json(item));
        node.children.back().key = std::string(key);
      }
      break;
    default:
      node = {.kind = Node::Kind::kScalar, .text = json::serialize(value)};
  }
  return node;
}

}  // namespace

Result<Node> parse_json(std::string_view text) {
  if (text.size() > kTextBytesMax) {
    return Error(ErrorCode::kTooLarge, fmt::format("the text has {} bytes, at most {} are read",
                                                   text.size(), kTextBytesMax));
  }
  ALTLAS_TRY(text, skip_byte_order_mark(text, "the text"));
  if (!is_valid_utf8(text)) return invalid("the text is not UTF-8");
  json::parse_options options;
  options.max_depth = kDepthMax;
  boost::system::error_code error;
  const json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error) return invalid("not JSON: " + error.message());
  return from_json(value);
}

}  // namespace altlas::config
