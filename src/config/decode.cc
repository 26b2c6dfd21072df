#include "config/decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/units.h"

namespace altlas::config {
namespace {

constexpr size_t kTextValueBytesMax = 64 << 10;

// Whether a misplaced value at this path may be a key: messages then don't show it.
bool may_be_secret(std::string_view path) {
  return path.starts_with("auth") && (path.size() == 4 || path[4] == '.' || path[4] == '[');
}

// Returns the scalar as messages show it.
std::string shown(const Node& node, const FieldInfo& info) {
  if (info.secret) return "the value";
  switch (node.kind) {
    case Node::Kind::kList:
      return "a list";
    case Node::Kind::kMap:
      return "a map";
    case Node::Kind::kNull:
      return "an empty value";
    case Node::Kind::kScalar:
      break;
  }
  std::string out = "'";
  for (const char c : node.text.substr(0, 64))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + (node.text.size() > 64 ? "...'" : "'");
}

std::string number(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15
             ? fmt::format("{}", static_cast<int64_t>(value))
             : fmt::format("{}", value);
}

// Returns the path of a setting called `name` anywhere below `type`, or "".
std::string find_elsewhere(const Type& type, std::string_view path, std::string_view name) {
  for (const Member& member : type.members) {
    if (member.name == name) return join(path, name);
    if (member.type->kind != Type::Kind::kSection) continue;
    std::string found = find_elsewhere(*member.type, join(path, member.name), name);
    if (!found.empty()) return found;
  }
  return "";
}

// Returns the place of `node`'s key, for messages.
Node key_place(const Node& node) {
  Node at;
  at.line = node.key_line;
  at.column = node.key_column;
  return at;
}

bool parse_bool(std::string_view text, bool& value) {
  static constexpr std::string_view kTrue[] = {"true", "True", "TRUE", "yes", "on", "1"};
  static constexpr std::string_view kFalse[] = {"false", "False", "FALSE", "no", "off", "0"};
  value = std::ranges::find(kTrue, text) != std::end(kTrue);
  return value || std::ranges::find(kFalse, text) != std::end(kFalse);
}

}  // namespace

std::string join(std::string_view path, std::string_view member) {
  return path.empty() ? std::string(member) : fmt::format("{}.{}", path, member);
}

std::string range_text(const FieldInfo& info) {
  const bool low = std::isfinite(info.min), high = std::isfinite(info.max);
  if (low && high) return fmt::format("{} to {}", number(info.min), number(info.max));
  if (low) return fmt::format("at least {}", number(info.min));
  return high ? fmt::format("at most {}", number(info.max)) : "";
}

std::string ConfigDecoder::where(int line, int column) const {
  return line > 0 ? fmt::format("{}:{}:{}", name_, line, column) : name_;
}
void ConfigDecoder::error(const Node& node, const std::string& path, std::string what) {
  if (target_.errors.size() < kProblemsMax) {
    target_.errors.push_back({where(node.line, node.column), path, std::move(what)});
  }
}
void ConfigDecoder::warning(const Node& node, const std::string& path, std::string what) {
  if (target_.warnings.size() < kProblemsMax) {
    target_.warnings.push_back({where(node.line, node.column), path, std::move(what)});
  }
}

void ConfigDecoder::forget(const std::string& path) {
  auto from = target_.origins.lower_bound(path);
  while (from != target_.origins.end() && from->first.starts_with(path)) {
    const char next = from->first.size() == path.size() ? '.' : from->first[path.size()];
    if (next == '.' || next == '[')
      from = target_.origins.erase(from);
    else
      ++from;
  }
}
void ConfigDecoder::won(const Node& node, const std::string& path) {
  target_.origins[path] = {source_, where(node.line, node.column)};
}

void ConfigDecoder::unknown_key(const Node& key, const Type& type, std::string_view path) {
  std::vector<std::string_view> names;
  std::string allowed;
  for (const Member& member : type.members) {
    names.push_back(member.name);
    allowed += (allowed.empty() ? "" : ", ") + std::string(member.name);
  }
  std::string what = "unknown key";
  const std::string_view near = nearest_name(key.key, names);
  const std::string elsewhere = find_elsewhere(config_type(), "", key.key);
  if (!near.empty())
    what += fmt::format(" (did you mean {}?)", near);
  else if (!elsewhere.empty())
    what += fmt::format(" (did you mean {}?)", elsewhere);
  const bool hidden = may_be_secret(path) && near.empty() && elsewhere.empty();
  error(key_place(key), hidden ? std::string(path) : join(path, key.key.substr(0, 128)),
        what + "; known here: " + allowed);
}

void ConfigDecoder::section(const Node& node, const Type& type, std::string_view path,
                            void* section) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kMap) {
    FieldInfo no_info;
    no_info.secret =
        may_be_secret(path) ||
        std::ranges::any_of(type.members, [](const Member& one) { return one.info.secret; });
    return error(node, std::string(path), shown(node, no_info) + " is not a map of settings");
  }
  for (const Node& child : node.children) {
    if (target_.errors.size() >= kProblemsMax) return;
    const Member* found = type.find(child.key);
    if (found == nullptr) {
      for (const Member& candidate : type.members) {
        if (!candidate.info.old_name.empty() && candidate.info.old_name == child.key)
          found = &candidate;
      }
      if (found == nullptr) {
        unknown_key(child, type, path);
        continue;
      }
      const std::string old_path = join(path, child.key);
      if (std::ranges::any_of(node.children,
                              [found](const Node& other) { return other.key == found->name; })) {
        error(
            key_place(child), old_path,
            fmt::format("this is the old name of {}, which is given too: remove one", found->name));
        continue;
      }
      warning(key_place(child), old_path, fmt::format("old name, write {}", found->name));
    }
    member(child, *found, join(path, found->name), found->in(section));
  }
}

void ConfigDecoder::member(const Node& node, const Member& member, const std::string& path,
                           void* at, bool extend) {
  if (node.kind == Node::Kind::kNull) return;
  if (member.type->kind == Type::Kind::kSection) return section(node, *member.type, path, at);
  if (!extend) {
    forget(path);
    if (member.type->clear != nullptr) member.type->clear(at);
  }
  FieldInfo info = member.info;
  info.secret |= may_be_secret(path);
  value(node, *member.type, info, path, at);
}

void ConfigDecoder::value(const Node& node, const Type& type, const FieldInfo& info,
                          const std::string& path, void* at) {
  won(node, path);
  switch (type.kind) {
    case Type::Kind::kSection:
      return section(node, type, path, at);
    case Type::Kind::kOptional:
      if (node.kind != Node::Kind::kNull) value(node, *type.element, info, path, type.append(at));
      return;
    case Type::Kind::kList:
      return list(node, type, info, path, at);
    case Type::Kind::kMap:
      return map(node, type, info, path, at);
    default:
      return scalar(node, type, info, path, at);
  }
}

void ConfigDecoder::priorities(const Node& node, const Type& type, const std::string& path,
                               void* at) {
  std::vector<std::pair<int64_t, const Node*>> ranked;
  const FieldInfo rank_info{.help = "", .min = 0, .max = 1000};
  for (const Node& child : node.children) {
    int64_t rank = 0;
    if (child.kind == Node::Kind::kScalar)
      integer(child, rank_info, join(path, child.key), rank);
    else
      error(child, join(path, child.key),
            "a level's rank is a number from 0 to 1000, as in high: 0");
    ranked.emplace_back(rank, &child);
  }
  std::ranges::stable_sort(ranked, {}, &std::pair<int64_t, const Node*>::first);
  for (size_t i = 0; i < ranked.size(); ++i) {
    const Node& level = *ranked[i].second;
    if (i > 0 && ranked[i - 1].first == ranked[i].first) {
      error(level, join(path, level.key),
            fmt::format("{} has the same rank {}", ranked[i - 1].second->key, ranked[i].first));
    }
    Node name{.kind = Node::Kind::kScalar,
              .text = level.key,
              .line = level.key_line,
              .column = level.key_column};
    value(name, *type.element, FieldInfo{}, fmt::format("{}[{}]", path, i), type.append(at));
  }
}

void ConfigDecoder::list(const Node& node, const Type& type, const FieldInfo& info,
                         const std::string& path, void* at) {
  const Type& element = *type.element;
  if (node.kind == Node::Kind::kMap && info.form == Form::kPriorities)
    return priorities(node, type, path, at);
  const bool keyed = node.kind == Node::Kind::kMap && !info.key.empty();
  if (node.kind == Node::Kind::kScalar && info.one_or_list) {
    return value(node, element, info, fmt::format("{}[{}]", path, type.size(at)), type.append(at));
  }
  if (node.kind != Node::Kind::kList && !keyed) {
    return error(node, path,
                 fmt::format("{} is not a list; write [a, b], or '- a' on lines of their own{}",
                             shown(node, info),
                             info.key.empty() ? "" : ", or a map by " + std::string(info.key)));
  }
  for (const Node& child : node.children) {
    const std::string item = fmt::format("{}[{}]", path, type.size(at));
    void* made = type.append(at);
    if (keyed) {
      const Member* name = element.find(info.key);
      *static_cast<std::string*>(name->in(made)) = child.key;
      if (std::ranges::any_of(child.children,
                              [&info](const Node& other) { return other.key == info.key; })) {
        error(child, join(item, info.key),
              fmt::format("the map's key{} is the {} already",
                          info.secret ? "" : " '" + std::string(child.key.substr(0, 64)) + "'",
                          info.key));
      }
    }
    if (child.kind == Node::Kind::kNull && !keyed)
      error(child, item, "an empty value: remove it");
    else
      value(child, element, info, item, made);
  }
}

void ConfigDecoder::map(const Node& node, const Type& type, const FieldInfo& info,
                        const std::string& path, void* at) {
  if (node.kind != Node::Kind::kMap) {
    return error(node, path, shown(node, info) + " is not a map; write {name: value}");
  }
  for (const Node& child : node.children) {
    const std::string item = join(path, child.key.substr(0, 128));
    if (child.key.empty())
      error(child, item, "the name is empty");
    else if (child.kind == Node::Kind::kNull)
      error(child, item, "an empty value: remove it");
    else
      value(child, *type.element, info, item, type.insert(at, child.key));
  }
}

void ConfigDecoder::scalar(const Node& node, const Type& type, const FieldInfo& info,
                           const std::string& path, void* at) {
  if (type.kind == Type::Kind::kText && info.form == Form::kJson) {
    *static_cast<std::string*>(at) = to_json(node);
    return;
  }
  if (node.kind != Node::Kind::kScalar)
    return error(node, path, shown(node, info) + " stands where one value belongs");
  switch (type.kind) {
    case Type::Kind::kBool:
      if (!parse_bool(node.text, *static_cast<bool*>(at))) {
        error(node, path, shown(node, info) + " is neither true nor false");
      }
      return;
    case Type::Kind::kInt:
      return integer(node, info, path, *static_cast<int64_t*>(at));
    case Type::Kind::kReal:
      return real(node, info, path, *static_cast<double*>(at));
    case Type::Kind::kEnum: {
      const Result<size_t> row = find_name(type.names, node.text);
      if (row.ok())
        *static_cast<uint8_t*>(at) = type.names[*row].value;
      else if (info.secret)
        error(node, path, shown(node, info) + " is not one of " + list_names(type.names));
      else
        error(node, path, row.error().message());
      return;
    }
    default:
      return text(node, info, path, *static_cast<std::string*>(at));
  }
}

void ConfigDecoder::integer(const Node& node, const FieldInfo& info, const std::string& path,
                            int64_t& value) {
  std::string_view digits = node.text;
  if (info.form == Form::kBytes) {
    const Result<uint64_t> bytes = parse_bytes(digits.substr(0, 64));
    if (!bytes.ok()) return error(node, path, bytes.error().message());
    value = static_cast<int64_t>(*bytes);
  } else {
    if (info.form == Form::kDevices && digits.starts_with("gpu_")) digits.remove_prefix(4);
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (fault != std::errc() || end != digits.data() + digits.size()) {
      return error(
          node, path,
          shown(node, info) + (info.form == Form::kDevices ? " is not a device; write gpu_0 or 0"
                                                           : " is not a whole number"));
    }
  }
  if (static_cast<double>(value) < info.min || static_cast<double>(value) > info.max) {
    error(node, path, fmt::format("{} is out of range: {}", shown(node, info), range_text(info)));
  }
}

void ConfigDecoder::real(const Node& node, const FieldInfo& info, const std::string& path,
                         double& value) {
  const std::string_view digits = node.text;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (fault != std::errc() || end != digits.data() + digits.size() || !std::isfinite(value)) {
    value = 0;
    return error(
        node, path,
        fmt::format(
            "{} is not a number{}", shown(node, info),
            info.unit.empty() ? "" : " (" + std::string(info.unit) + ", without the unit)"));
  }
  if (value < info.min || value > info.max) {
    error(node, path, fmt::format("{} is out of range: {}", shown(node, info), range_text(info)));
  }
}

void ConfigDecoder::text(const Node& node, const FieldInfo& info, const std::string& path,
                         std::string& value) {
  if (node.text.size() > kTextValueBytesMax || node.text.find('\0') != node.text.npos) {
    return error(
        node, path,
        fmt::format("the text is longer than {} bytes or holds a zero byte", kTextValueBytesMax));
  }
  value = node.text;
  if (info.choices.empty() || std::ranges::find(info.choices, node.text) != info.choices.end())
    return;
  std::string what = shown(node, info) + " is not one of ";
  for (size_t i = 0; i < info.choices.size(); ++i)
    what += (i > 0 ? ", " : "") + std::string(info.choices[i]);
  const std::string_view near = nearest_name(node.text, info.choices);
  if (!near.empty()) what += fmt::format(" (did you mean {}?)", near);
  error(node, path, std::move(what));
}

}  // namespace altlas::config
