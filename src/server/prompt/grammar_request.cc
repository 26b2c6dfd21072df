#include "server/prompt/grammar_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "text/grammar/program.h"
#include "text/grammar/regex.h"

namespace altlas::server {

namespace json = boost::json;

namespace {

class Reader {
 public:
  explicit Reader(JsonReader& body) : body_(body) {}

  GrammarRequest read(const GrammarFields& fields) {
    if (fields.response_format) response_format(*fields.response_format);
    rules(fields, "guided_");
    if (fields.structured_outputs) rules(*fields.structured_outputs, "structured_outputs.");
    give_rules(GrammarKind::kGbnf, fields.gbnf, "grammar");
    give_filled(fields.json_schema, "json_schema");
    return std::move(out_);
  }

 private:
  void give(GrammarKind kind, std::string text, std::string field) {
    if (out_.given())
      return body_.fail(field,
                        fmt::format("and {} are both given: an answer is held to one", out_.field));
    out_.grammar = {kind, std::move(text)};
    out_.field = std::move(field);
  }
  // Forms send fields that are not filled in as empty texts, which ask for nothing.
  void give_rules(GrammarKind kind, const std::optional<std::string>& text, std::string field) {
    if (text && !text->empty()) give(kind, *text, std::move(field));
  }
  void give_filled(const json::value* schema, const std::string& field) {
    if (schema == nullptr || (schema->is_string() && schema->get_string().empty())) return;
    give_schema(*schema, field);
  }
  // The schema may be an object, or the text of one.
  void give_schema(const json::value& schema, const std::string& field) {
    if (schema.is_string())
      give(GrammarKind::kJsonSchema, std::string(schema.get_string()), field);
    else if (schema.is_object() || schema.is_bool())
      give(GrammarKind::kJsonSchema, json::serialize(schema), field);
    else
      body_.fail(field, "should be a JSON schema: an object");
  }

  void response_format(const ResponseFormat& format) {
    if (format.type == FormatType::kText) return;
    const json::value* schema = nullptr;
    bool strict = false;
    std::string field = "response_format.schema";  // llama-server has the schema here.
    if (format.type == FormatType::kJsonSchema && format.json_schema != nullptr) {
      field = "response_format.json_schema.schema";
      schema = format.json_schema->if_contains("schema");
      const json::value* flag = format.json_schema->if_contains("strict");
      strict = flag != nullptr && flag->is_bool() && flag->get_bool();
    }
    if (schema == nullptr) schema = format.schema;
    if (schema != nullptr && !schema->is_null()) {
      give_schema(*schema, field);
      out_.strict = strict;
    } else if (format.type == FormatType::kJsonObject) {
      give(GrammarKind::kJsonObject, "", "response_format");
    } else {
      body_.fail("response_format.json_schema.schema", "is missing, should be a JSON schema");
    }
  }

  static const json::array* list_of(const json::array& list) { return &list; }
  static const json::array* list_of(const json::value& value) { return value.if_array(); }

  // Reads the members that GrammarFields and StructuredOutputs share.
  void rules(const auto& from, const std::string& prefix) {
    give_filled(from.json, prefix + "json");
    give_rules(GrammarKind::kRegex, from.regex, prefix + "regex");
    if (from.choice != nullptr) {
      const json::array* list = list_of(*from.choice);
      std::string pattern;
      bool fine = list != nullptr && !list->empty() && list->size() <= kGuidedChoicesMax;
      for (size_t i = 0; fine && i < list->size(); ++i) {
        fine = (*list)[i].is_string();
        if (fine)
          pattern += (i > 0 ? "|" : "") +
                     text::grammar::escape_regex(std::string_view((*list)[i].get_string()));
      }
      if (fine)
        give(GrammarKind::kRegex, std::move(pattern), prefix + "choice");
      else
        body_.fail(prefix + "choice",
                   fmt::format("should be a list of 1 to {} strings", kGuidedChoicesMax));
    }
    give_rules(GrammarKind::kGbnf, from.grammar, prefix + "grammar");
    if (from.json_object) give(GrammarKind::kJsonObject, "", prefix + "json_object");
  }

  JsonReader& body_;
  GrammarRequest out_;
};

}  // namespace

GrammarRequest read_grammar(const GrammarFields& fields, JsonReader& reader) {
  return Reader(reader).read(fields);
}

json::object guided_json_schema(const config::Config&) {
  return {{"anyOf", json::array{json::object{{"type", "object"}}, json::object{{"type", "boolean"}},
                                json::object{{"type", "string"}}}}};
}

json::object guided_choice_schema(const config::Config&) {
  return {{"type", "array"},
          {"minItems", 1},
          {"maxItems", kGuidedChoicesMax},
          {"items", {{"type", "string"}}}};
}

json::object json_schema_format_schema(const config::Config& now) {
  const json::object properties{{"name", {{"type", "string"}}},
                                {"strict", {{"type", {"boolean", "null"}}}},
                                {"schema", guided_json_schema(now)}};
  return {{"type", "object"}, {"required", json::array{"schema"}}, {"properties", properties}};
}

namespace {

constexpr size_t kIgnoredNamesMax = 32;
constexpr size_t kIgnoredBytesMax = 2'048;

// Returns the part that a place in the schema belongs to, and the place within it.
std::pair<GrammarPart, std::string> part_at(const GrammarRequest& request,
                                            const std::string& pointer) {
  for (const GrammarPart& part : request.parts) {
    const std::string& prefix = part.pointer;
    if (pointer == prefix || pointer.starts_with(prefix + "/"))
      return {part, pointer.substr(prefix.size())};
  }
  return {{"", request.field, request.strict}, pointer};
}

// Returns a name for X-Altlas-Ignored. What a header or the list of names can't hold is
// percent-encoded.
std::string ignored_name(const std::string& field, const std::string& pointer) {
  std::string out = field + "#";
  for (const char c : pointer) {
    const bool plain = c > ' ' && c < 0x7F && c != ',' && c != '%' && c != '"';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<uint8_t>(c));
  }
  return out;
}

std::string field_of(const std::string& field, const std::string& dotted) {
  return dotted.empty() ? field : field + (dotted.starts_with("[") ? "" : ".") + dotted;
}

}  // namespace

Result<void> check_grammar(const GrammarRequest& request) {
  if (!request.given()) return {};
  const auto program = text::grammar::compile(request.grammar);
  if (!program.ok()) {
    const Error& error = program.error();
    return invalid(fmt::format("{}: {}", request.field, error.message()),
                   field_of(request.field, error.field()));
  }
  request.ignored->clear();
  for (const text::grammar::Unheld& one : (*program)->unheld) {
    const auto [part, pointer] = part_at(request, one.pointer);
    const bool is_whole = part.pointer.empty();
    const bool malformed = one.why == text::grammar::Unheld::Why::kMalformed;
    if (part.strict || (is_whole && malformed))
      return invalid(fmt::format("{}: schema, at {}: {}", part.field, pointer, one.reason),
                     field_of(part.field, text::grammar::dotted_pointer(pointer)));
    request.ignored->push_back(ignored_name(part.field, pointer));
  }
  return {};
}

void add_ignored(const std::vector<std::string>& ignored, Response& response) {
  if (ignored.empty()) return;
  std::string names;
  size_t named = 0;
  for (; named < std::min(ignored.size(), kIgnoredNamesMax); ++named) {
    if (names.size() + ignored[named].size() > kIgnoredBytesMax) break;
    names.append(named > 0 ? ", " : "").append(ignored[named]);
  }
  if (named < ignored.size())
    names += fmt::format("{}{} more", named > 0 ? ", " : "", ignored.size() - named);
  response.headers.emplace_back("X-Altlas-Ignored", std::move(names));
}

}  // namespace altlas::server
