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

constexpr size_t kGuidedChoicesMax = 4096;

class Reader {
 public:
  explicit Reader(JsonReader& body) : body_(body) {}

  GrammarRequest read() {
    response_format();
    fields(body_, "", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
           "guided_json_object");
    // OpenAI's clients send vLLM's object as it is.
    if (const json::object* structured = body_.object("structured_outputs")) {
      JsonReader inner(*structured);
      fields(inner, "structured_outputs.", "json", "regex", "choice", "grammar", "json_object");
      if (inner.has("structural_tag"))
        body_.fail("structured_outputs.structural_tag",
                   "is not supported; json, regex, choice, grammar and json_object are");
      adopt(inner, "structured_outputs");
    }
    if (const auto rules = given_text(body_, "grammar"))
      give(GrammarKind::kGbnf, *rules, "grammar");
    if (const json::value* schema = given_value(body_, "json_schema"))
      give_schema(*schema, "json_schema");
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
  // Forms send what is not filled in as an empty text: nothing is asked for.
  static const json::value* given_value(const JsonReader& from, std::string_view name) {
    const json::value* value = from.value(name);
    return value != nullptr && value->is_string() && value->get_string().empty() ? nullptr : value;
  }
  static std::optional<std::string> given_text(JsonReader& from, std::string_view name) {
    return given_value(from, name) == nullptr ? std::nullopt : from.optional_text(name);
  }
  // A schema as an object, or as the text of one.
  void give_schema(const json::value& schema, const std::string& field) {
    if (schema.is_string())
      give(GrammarKind::kJsonSchema, std::string(schema.get_string()), field);
    else if (schema.is_object() || schema.is_bool())
      give(GrammarKind::kJsonSchema, json::serialize(schema), field);
    else
      body_.fail(field, "should be a JSON schema: an object");
  }
  // What was wrong in an object within the body.
  void adopt(const JsonReader& inner, const std::string& name) {
    const auto status = inner.status();
    if (status.ok()) return;
    const std::string& text = status.error().message();
    body_.fail(name + "." + status.error().field(), text.substr(text.find(": ") + 2));
  }

  void response_format() {
    const json::object* format = body_.object("response_format");
    if (format == nullptr) return;
    JsonReader inner(*format);
    static constexpr std::string_view kFormats[] = {"text", "json_object", "json_schema"};
    if (!inner.has("type"))
      inner.fail("type", "is missing, should be text, json_object or json_schema");
    const size_t kind = inner.choice("type", kFormats, 0);
    const json::value* schema = nullptr;
    bool strict = false;
    std::string field = "response_format.schema";  // llama-server's place for it.
    if (kind == 2) {
      if (const json::object* named = inner.object("json_schema")) {
        field = "response_format.json_schema.schema";
        schema = named->if_contains("schema");
        const json::value* flag = named->if_contains("strict");
        strict = flag != nullptr && flag->is_bool() && flag->get_bool();
      }
    }
    if (schema == nullptr && kind != 0) schema = inner.value("schema");
    adopt(inner, "response_format");
    if (!inner.status().ok() || kind == 0) return;
    if (schema != nullptr && !schema->is_null()) {
      give_schema(*schema, field);
      out_.strict = strict;
    } else if (kind == 1) {
      give(GrammarKind::kJsonObject, "", "response_format");
    } else {
      body_.fail("response_format.json_schema.schema", "is missing, should be a JSON schema");
    }
  }

  void fields(JsonReader& from, const std::string& prefix, std::string_view schema,
              std::string_view regex, std::string_view choice, std::string_view grammar,
              std::string_view object) {
    if (const json::value* value = given_value(from, schema))
      give_schema(*value, prefix + std::string(schema));
    if (const auto pattern = given_text(from, regex))
      give(GrammarKind::kRegex, *pattern, prefix + std::string(regex));
    if (from.has(choice)) {
      const json::array* list = from.array(choice);
      std::string pattern;
      bool fine = list != nullptr && !list->empty() && list->size() <= kGuidedChoicesMax;
      for (size_t i = 0; fine && i < list->size(); ++i) {
        fine = (*list)[i].is_string();
        if (fine)
          pattern += (i > 0 ? "|" : "") +
                     text::grammar::escape_regex(std::string_view((*list)[i].get_string()));
      }
      if (fine)
        give(GrammarKind::kRegex, std::move(pattern), prefix + std::string(choice));
      else
        body_.fail(prefix + std::string(choice),
                   fmt::format("should be a list of 1 to {} strings", kGuidedChoicesMax));
    }
    if (const auto rules = given_text(from, grammar))
      give(GrammarKind::kGbnf, *rules, prefix + std::string(grammar));
    if (from.boolean(object, false))
      give(GrammarKind::kJsonObject, "", prefix + std::string(object));
  }

  JsonReader& body_;
  GrammarRequest out_;
};

}  // namespace

GrammarRequest read_grammar(JsonReader& reader) { return Reader(reader).read(); }

namespace {

constexpr size_t kIgnoredNamesMax = 32;
constexpr size_t kIgnoredBytesMax = 2'048;

// The part that a place in the schema belongs to, and the place within it.
std::pair<GrammarPart, std::string> part_at(const GrammarRequest& request,
                                            const std::string& pointer) {
  for (const GrammarPart& part : request.parts) {
    const std::string& prefix = part.pointer;
    if (pointer == prefix || pointer.starts_with(prefix + "/"))
      return {part, pointer.substr(prefix.size())};
  }
  return {{"", request.field, request.strict}, pointer};
}

// A name of X-Altlas-Ignored: what a header or the list of names can't hold is percent-encoded.
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
