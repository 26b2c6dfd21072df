#include "text/grammar/json_reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "text/grammar/limits.h"
#include "text/grammar/program.h"

namespace altlas::text::grammar {

namespace {

constexpr size_t kSameUriMax = 256;

// Keywords whose value is a schema, a list of schemas, or an object with schemas.
constexpr std::string_view kOne[] = {"additionalItems",
                                     "additionalProperties",
                                     "contains",
                                     "contentSchema",
                                     "else",
                                     "if",
                                     "items",
                                     "not",
                                     "propertyNames",
                                     "then",
                                     "unevaluatedItems",
                                     "unevaluatedProperties"};
constexpr std::string_view kList[] = {"allOf", "anyOf", "items", "oneOf", "prefixItems"};
constexpr std::string_view kNamed[] = {
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"};

std::string decode_percent(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 1] + 2, code, 16).ec == std::errc()) {
      out += static_cast<char>(code);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Returns the length of "scheme:" at the beginning, or 0.
size_t scheme_length(std::string_view uri) {
  const size_t colon = uri.find_first_of(":/?#");
  if (colon == std::string_view::npos || colon == 0 || uri[colon] != ':') return 0;
  const auto letter = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  return letter(uri[0]) ? colon + 1 : 0;
}

std::string without_dots(std::string_view path) {
  std::vector<std::string_view> kept;
  bool folder = false;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view step = path.substr(at, end - at);
    folder = step == "." || step == "..";
    if (step == ".." && kept.size() > 1) kept.pop_back();
    if (!folder) kept.push_back(step);
    at = end + 1;
  }
  std::string out;
  for (size_t i = 0; i < kept.size(); ++i) out.append(i > 0 ? "/" : "").append(kept[i]);
  if (folder) out += '/';
  return out;
}

}  // namespace

std::string pointer_step(std::string_view name) {
  std::string out = "/";
  for (const char c : name) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

std::string dotted_pointer(std::string_view pointer) {
  std::string out;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::string_view step = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(step.size());
    const bool index = !step.empty() && step.find_first_not_of("0123456789") == step.npos;
    if (index) {
      out.append("[").append(step).append("]");
      continue;
    }
    if (!out.empty()) out += '.';
    for (size_t i = 0; i < step.size(); ++i) {
      const bool escape = step[i] == '~' && i + 1 < step.size();
      out += !escape ? step[i] : step[i + 1] == '1' ? '/' : '~';
      i += escape;
    }
  }
  return out;
}

void visit_subschemas(const json::object& schema,
                      const std::function<void(const std::string&, const json::value&)>& visit) {
  for (const auto& [key, value] : schema) {
    const std::string_view keyword = key;
    const auto is_in = [&](const auto& list) { return std::ranges::binary_search(list, keyword); };
    if (value.is_object() && is_in(kOne)) visit(pointer_step(keyword), value);
    if (value.is_array() && is_in(kList))
      for (size_t i = 0; i < value.get_array().size(); ++i)
        visit(fmt::format("/{}/{}", keyword, i), value.get_array()[i]);
    if (value.is_object() && is_in(kNamed))
      for (const auto& [name, one] : value.get_object())
        visit(pointer_step(keyword) + pointer_step(name), one);
  }
}

std::string resolve_uri(std::string_view base, std::string_view reference) {
  if (scheme_length(reference) > 0) return std::string(reference);
  base = base.substr(0, base.find('#'));
  if (reference.empty() || reference.starts_with("#"))
    return std::string(base) + std::string(reference);
  const size_t scheme = scheme_length(base);
  if (reference.starts_with("//"))
    return std::string(base.substr(0, scheme)) + std::string(reference);
  size_t root = scheme;  // The path begins here.
  if (base.substr(scheme).starts_with("//"))
    root = std::min(base.find_first_of("/?", scheme + 2), base.size());
  const std::string_view tail =
      reference.substr(std::min(reference.find_first_of("?#"), reference.size()));
  const std::string_view path = reference.substr(0, reference.size() - tail.size());
  std::string_view folder = base.substr(root, base.find('?', root) - root);
  if (path.empty())
    return std::string(base.substr(0, root)) + std::string(folder) + std::string(tail);
  folder = path.starts_with("/") ? std::string_view() : folder.substr(0, folder.rfind('/') + 1);
  if (folder.empty() && !path.starts_with("/") && root > scheme) folder = "/";
  return std::string(base.substr(0, root)) + without_dots(std::string(folder) + std::string(path)) +
         std::string(tail);
}

References::References(const json::value& root) {
  std::string pointer;
  resources_[""] = {"", &root};
  by_uri_.emplace("", "");
  collect(root, pointer, "", 0);
}

void References::collect(const json::value& schema, std::string& pointer,
                         const std::string& resource, size_t depth) {
  if (!schema.is_object() || depth > kGrammarNestingMax || bytes_ > kReferencesBytesMax) return;
  const json::object& object = schema.get_object();
  const auto text = [&](std::string_view keyword) -> std::string_view {
    const json::value* value = object.if_contains(keyword);
    return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                  : std::string_view();
  };
  std::string inner = resource;
  const std::string_view id = text("$id");
  if (!id.empty() && !id.starts_with("#")) {
    const std::string uri = resolve_uri(resources_[resource].uri, id);
    inner = pointer;
    resources_[inner] = {uri.substr(0, uri.find('#')), &schema};
    if (by_uri_.count(resources_[inner].uri) < kSameUriMax)
      by_uri_.emplace(resources_[inner].uri, inner);
    bytes_ += 2 * (pointer.size() + uri.size()) + 256;
  }
  const std::string_view names[] = {text("$anchor"), text("$dynamicAnchor"),
                                    id.starts_with("#") ? id.substr(1) : std::string_view()};
  for (const std::string_view name : names) {
    if (name.empty() || name.starts_with("/")) continue;
    anchors_.try_emplace({inner, std::string(name)}, Target{&schema, pointer});
    bytes_ += 2 * pointer.size() + 256;
  }
  if (!names[1].empty()) dynamic_[std::string(names[1])].emplace(pointer, &schema);
  const json::value* recursive = object.if_contains("$recursiveAnchor");
  if (recursive != nullptr && recursive->is_bool() && recursive->get_bool())
    dynamic_[""].emplace(pointer, &schema);
  visit_subschemas(object, [&](const std::string& step, const json::value& one) {
    const size_t length = pointer.size();
    pointer += step;
    collect(one, pointer, inner, depth + 1);
    pointer.resize(length);
  });
}

const std::string& References::resource_of(std::string_view pointer) const {
  while (true) {
    const auto found = resources_.find(pointer);
    if (found != resources_.end()) return found->first;
    pointer = pointer.substr(0, pointer.rfind('/'));
  }
}

Result<References::Target> References::in_resource(const std::string& resource,
                                                   std::string_view fragment) const {
  const std::string name = decode_percent(fragment);
  const Resource& place = resources_.find(resource)->second;
  if (name.empty()) return Target{place.value, resource};
  if (name[0] != '/') {
    const auto anchor = anchors_.find({resource, name});
    if (anchor != anchors_.end()) return anchor->second;
    return invalid("no such anchor");
  }
  boost::system::error_code code;
  const json::value* found = place.value->find_pointer(name, code);
  if (found == nullptr || code) return invalid("no such place");
  return Target{found, resource + name};
}

Result<References::Target> References::resolve(std::string_view reference,
                                               std::string_view pointer) const {
  const size_t hash = std::min(reference.find('#'), reference.size());
  const std::string_view fragment =
      hash < reference.size() ? reference.substr(hash + 1) : std::string_view();
  const std::string& own = resource_of(pointer);
  if (hash == 0) return in_resource(own, fragment);
  const std::string uri = resolve_uri(resources_.find(own)->second.uri, reference.substr(0, hash));
  const auto [begin, end] = by_uri_.equal_range(uri);
  if (begin == end) return not_found("another document");
  const auto shared = [&](const auto& entry) {
    return std::ranges::mismatch(entry.second, pointer).in1 - entry.second.begin();
  };
  const auto nearest = std::max_element(
      begin, end, [&](const auto& a, const auto& b) { return shared(a) < shared(b); });
  return in_resource(nearest->second, fragment);
}

Result<References::Target> References::outermost(const Target& target,
                                                 const std::string& name) const {
  const auto known = dynamic_.find(name);
  // A dynamic reference whose target has no such anchor is an ordinary one.
  if (known == dynamic_.end() || !known->second.contains(target.pointer)) return target;
  const auto& all = known->second;
  if (all.size() == 1) return target;
  const auto of_root = std::ranges::find_if(
      all, [&](const auto& entry) { return resource_of(entry.first).empty(); });
  if (of_root != all.end()) return Target{of_root->second, of_root->first};
  return not_found("a reference that depends on who refers");
}

Result<References::Target> References::resolve_dynamic(std::string_view reference,
                                                       std::string_view pointer) const {
  ALTLAS_TRY(Target target, resolve(reference, pointer));
  const size_t hash = std::min(reference.find('#'), reference.size());
  const std::string_view fragment =
      hash < reference.size() ? reference.substr(hash + 1) : std::string_view();
  return outermost(target, decode_percent(fragment));
}

}  // namespace altlas::text::grammar
