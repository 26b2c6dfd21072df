#include "config/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "base/units.h"
#include "config/decode.h"
#include "config/reference.h"
#include "config/validate.h"
#include "config/value.h"

namespace altlas::config {
namespace {

struct Setting {
  const Member* member = nullptr;
  void* value = nullptr;
};

// Finds the setting at a dotted path through sections. Settings inside lists have no path.
Setting resolve(const Type& type, void* section, std::string_view path) {
  const size_t dot = path.find('.');
  const Member* member = type.find(path.substr(0, dot));
  if (member == nullptr) return {};
  if (dot == path.npos) return {member, member->in(section)};
  if (member->type->kind != Type::Kind::kSection) return {};
  return resolve(*member->type, member->in(section), path.substr(dot + 1));
}

// Parses a value that came as one string, from a flag or a variable.
Parsed parse_value(const Member& member, std::string_view text) {
  const Type* type = member.type;
  while (type->kind == Type::Kind::kOptional) type = type->element;
  Parsed out;
  out.root = {.kind = Node::Kind::kScalar, .text = std::string(text)};
  const bool list = type->kind == Type::Kind::kList;
  if (!list && type->kind != Type::Kind::kMap && type->kind != Type::Kind::kSection) return out;
  if (!list || holds_section(*type) || text.starts_with('[') || text.starts_with('{'))
    return parse_yaml(text);
  Node root{.kind = Node::Kind::kList};
  while (!member.info.secret && text.find(',') != text.npos) {
    root.children.push_back(
        {.kind = Node::Kind::kScalar, .text = std::string(trim(text.substr(0, text.find(','))))});
    text.remove_prefix(text.find(',') + 1);
  }
  root.children.push_back({.kind = Node::Kind::kScalar, .text = std::string(trim(text, " \t\r"))});
  out.root = std::move(root);
  return out;
}

class Loader {
 public:
  explicit Loader(LoadReport& report) : report_(report) {}

  void text(Source source, const TextSource& text) {
    ConfigDecoder decoder(source, text.name, target());
    const Parsed parsed = parse_yaml(text.text);
    syntax(decoder, parsed, "");
    if (parsed.errors.empty())
      decoder.section(parsed.root, config_type(), "", &report_.loaded.config);
  }

  void environment(const std::vector<std::pair<std::string, std::string>>& variables) {
    std::map<std::string, std::string> paths;
    std::vector<std::string_view> names;
    for (const SettingRow& row : setting_rows()) {
      paths[row.environment] = row.path;
      if (!row.environment_too.empty()) paths[row.environment_too] = row.path;
    }
    for (const auto& [name, path] : paths) names.push_back(name);
    for (const auto& [name, value] : variables) {
      if (!name.starts_with("ALTLAS_") || value.empty()) continue;
      ConfigDecoder decoder(Source::kEnvironment, "environment variable " + name.substr(0, 128),
                            target());
      const auto found = paths.find(name);
      if (found != paths.end()) {
        one(decoder, found->second, value, false);
        continue;
      }
      const std::string_view near = nearest_name(name, names);
      decoder.warning(
          {}, "",
          near.empty() ? "sets nothing" : fmt::format("sets nothing (did you mean {}?)", near));
    }
  }

  void flags(const std::vector<Flag>& flags) {
    std::set<std::string_view> seen;
    for (const Flag& flag : flags) {
      ConfigDecoder decoder(Source::kFlag, "flag " + flag.spelling, target());
      one(decoder, flag.path, flag.value, !seen.insert(flag.path).second);
    }
  }

  void rules() {
    for (Finding& finding : validate(report_.loaded.config)) {
      if (!finding.warning && has_error_at(finding.path)) continue;
      std::vector<Problem>& problems = finding.warning ? report_.loaded.warnings : report_.errors;
      if (problems.size() < kProblemsMax) {
        problems.push_back({place(finding.path), finding.path, std::move(finding.what)});
      }
    }
  }

 private:
  ConfigDecoder::Target target() {
    return {report_.loaded.origins, report_.errors, report_.loaded.warnings};
  }

  static void syntax(ConfigDecoder& decoder, const Parsed& parsed, const std::string& path) {
    for (const SyntaxError& error : parsed.errors) {
      Node at;
      at.line = error.line;
      at.column = error.column;
      decoder.error(at, path, error.what);
    }
  }
  void one(ConfigDecoder& decoder, const std::string& path, std::string_view value, bool again) {
    const Setting setting = resolve(config_type(), &report_.loaded.config, path);
    if (setting.member == nullptr)
      return decoder.error({}, path, "there is no setting of this path");
    const Parsed parsed = parse_value(*setting.member, value);
    syntax(decoder, parsed, path);
    if (!parsed.errors.empty()) return;
    const bool extend = again && setting.member->type->kind == Type::Kind::kList;
    decoder.member(parsed.root, *setting.member, path, setting.value, extend);
  }
  bool has_error_at(const std::string& path) const {
    return std::ranges::any_of(report_.errors,
                               [&path](const Problem& problem) { return problem.path == path; });
  }
  std::string place(std::string path) const {
    while (!path.empty()) {
      const auto found = report_.loaded.origins.find(path);
      if (found != report_.loaded.origins.end()) return found->second.where;
      const size_t cut = path.find_last_of(".[");
      path.resize(cut == path.npos ? 0 : cut);
    }
    return "default";
  }

  LoadReport& report_;
};

Error to_error(const std::vector<Problem>& problems) {
  std::string message;
  for (const Problem& problem : problems)
    message += (message.empty() ? "" : "\n") + to_string(problem);
  if (problems.size() >= kProblemsMax) message += "\n(the first are shown, there may be more)";
  return invalid(std::move(message), problems.front().path);
}

void collect_changes(const Type& type, const std::string& path, const void* a, const void* b,
                     std::vector<Change>& out) {
  for (const Member& member : type.members) {
    const std::string at = join(path, member.name);
    if (member.type->kind == Type::Kind::kSection)
      collect_changes(*member.type, at, member.in(a), member.in(b), out);
    else if (!same(*member.type, member.in(a), member.in(b)))
      out.push_back({at, member.info.reload});
  }
}

void copy_reloadable(const Type& type, void* to, const void* from) {
  for (const Member& member : type.members) {
    if (member.type->kind == Type::Kind::kSection)
      copy_reloadable(*member.type, member.in(to), member.in(from));
    else if (member.info.reload)
      member.type->assign(member.in(to), member.in(from));
  }
}

}  // namespace

std::string_view to_string(Source source) {
  static constexpr std::string_view kNames[] = {"default", "preset", "file", "environment", "flag"};
  return kNames[static_cast<size_t>(source)];
}

std::string to_string(const Problem& problem) {
  return problem.path.empty()
             ? fmt::format("{}: {}", problem.where, problem.what)
             : fmt::format("{}: {}: {}", problem.where, problem.path, problem.what);
}

LoadReport load_report(const LoadInput& input) {
  LoadReport report;
  Loader loader(report);
  for (const TextSource& preset : input.presets) loader.text(Source::kPreset, preset);
  if (input.file) loader.text(Source::kFile, *input.file);
  loader.environment(input.environment);
  loader.flags(input.flags);
  loader.rules();
  return report;
}

Result<Loaded> load(const LoadInput& input) {
  LoadReport report = load_report(input);
  if (!report.errors.empty()) return to_error(report.errors);
  return std::move(report.loaded);
}

Result<DeploymentConfig> parse_deployment(std::string_view name, std::string_view json,
                                          std::vector<Problem>& warnings) {
  ALTLAS_TRY(const Node node, parse_json(json));
  DeploymentConfig deployment;
  std::map<std::string, Origin> origins;
  std::vector<Problem> errors;
  ConfigDecoder decoder(Source::kFile, "request", {origins, errors, warnings});
  decoder.section(node, deployment_type(), "", &deployment);
  if (deployment.name.empty()) deployment.name = name;
  if (deployment.name != name) {
    errors.push_back(
        {"request", "name", "the name is in the path already, and it is another: remove it"});
  }
  for (Finding& finding : validate(deployment, "")) {
    (finding.warning ? warnings : errors)
        .push_back({"request", finding.path, std::move(finding.what)});
  }
  if (!errors.empty()) return to_error(errors);
  return deployment;
}

std::vector<std::string> parse_keys_file(std::string_view text) {
  std::vector<std::string> keys;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end), " \t\r");
    if (!line.empty() && line.front() != '#') keys.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return keys;
}

std::vector<Row> rows(const Loaded& loaded) {
  std::vector<Row> out;
  walk(config_type(), "", &loaded.config,
       [&](const std::string& path, const Member& member, const void* value) {
         const auto found = loaded.origins.find(path);
         out.push_back({path, encode(*member.type, member.info, value),
                        found == loaded.origins.end() ? Origin{} : found->second});
       });
  return out;
}

std::vector<Change> changes(const Config& old_config, const Config& new_config) {
  std::vector<Change> out;
  collect_changes(config_type(), "", &old_config, &new_config, out);
  return out;
}

Config reloaded(const Config& old_config, const Config& new_config) {
  Config config = old_config;
  copy_reloadable(config_type(), &config, &new_config);
  return config;
}

}  // namespace altlas::config
