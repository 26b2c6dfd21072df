// From a document tree to typed values, by the run-time types.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/document.h"
#include "config/load.h"
#include "config/type.h"

namespace altlas::config {

// Decodes the values of one source. Single use per source; collects problems instead of stopping.
class ConfigDecoder {
 public:
  struct Target {
    std::map<std::string, Origin>& origins;
    std::vector<Problem>& errors;
    std::vector<Problem>& warnings;
  };
  // `name` is the file's name, or the whole place where the values have none of their own (flag,
  // variable).
  ConfigDecoder(Source source, std::string name, Target target)
      : source_(source), name_(std::move(name)), target_(target) {}

  // Puts the values of `node` over those of `section`.
  void section(const Node& node, const Type& type, std::string_view path, void* section);
  // Puts one member's value; lists are replaced, or added to if `extend`.
  void member(const Node& node, const Member& member, const std::string& path, void* value,
              bool extend = false);

  void error(const Node& node, const std::string& path, std::string what);
  void warning(const Node& node, const std::string& path, std::string what);
  std::string where(int line, int column) const;

 private:
  void value(const Node& node, const Type& type, const FieldInfo& info, const std::string& path,
             void* value);
  void list(const Node& node, const Type& type, const FieldInfo& info, const std::string& path,
            void* value);
  void map(const Node& node, const Type& type, const FieldInfo& info, const std::string& path,
           void* value);
  void priorities(const Node& node, const Type& type, const std::string& path, void* value);
  void scalar(const Node& node, const Type& type, const FieldInfo& info, const std::string& path,
              void* value);
  void integer(const Node& node, const FieldInfo& info, const std::string& path, int64_t& value);
  void real(const Node& node, const FieldInfo& info, const std::string& path, double& value);
  void text(const Node& node, const FieldInfo& info, const std::string& path, std::string& value);
  void unknown_key(const Node& key, const Type& type, std::string_view path);
  void forget(const std::string& path);
  void won(const Node& node, const std::string& path);

  Source source_;
  std::string name_;
  Target target_;
};

// The path of a member of the section at `path`.
std::string join(std::string_view path, std::string_view member);
// "4 to 8", "at least 1" or "" for a setting without bounds.
std::string range_text(const FieldInfo& info);

}  // namespace altlas::config
