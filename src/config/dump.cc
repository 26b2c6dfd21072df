#include <fmt/format.h>

#include "config/decode.h"
#include "config/document.h"
#include "config/load.h"
#include "config/value.h"

namespace altlas::config {
namespace {

class Dumper {
 public:
  explicit Dumper(const Loaded& loaded) : loaded_(loaded) {}

  void section(const Type& type, const std::string& path, const void* value, size_t indent) {
    for (const Member& member : type.members)
      this->member(member, join(path, member.name), member.in(value), indent);
  }
  std::string take() { return std::move(out_); }

 private:
  void member(const Member& member, const std::string& path, const void* value, size_t indent) {
    const Type& type = *member.type;
    const bool nested =
        holds_section(type) && (type.kind == Type::Kind::kSection || type.size(value) > 0);
    if (!nested) {
      return line(indent, fmt::format("{}: {}", member.name, encode(type, member.info, value)),
                  origin(path));
    }
    line(indent, fmt::format("{}:", member.name), "");
    if (type.kind == Type::Kind::kSection) return section(type, path, value, indent + 2);
    if (type.kind == Type::Kind::kOptional)
      return section(*type.element, path, type.at(value, 0), indent + 2);
    for (size_t i = 0; i < type.size(value); ++i) {
      const size_t start = out_.size();
      section(*type.element, fmt::format("{}[{}]", path, i), type.at(value, i), indent + 4);
      out_[start + indent + 2] = '-';
    }
  }
  std::string origin(const std::string& path) const {
    const auto found = loaded_.origins.find(path);
    if (found == loaded_.origins.end()) return "default";
    const Origin& origin = found->second;
    const bool named = origin.source == Source::kFlag || origin.source == Source::kEnvironment;
    return named ? origin.where : fmt::format("{} {}", to_string(origin.source), origin.where);
  }
  void line(size_t indent, const std::string& text, const std::string& comment) {
    out_ += std::string(indent, ' ') + text + (comment.empty() ? "" : "  # " + comment) + "\n";
  }

  const Loaded& loaded_;
  std::string out_;
};

}  // namespace

std::string dump(const Loaded& loaded) {
  Dumper dumper(loaded);
  dumper.section(config_type(), "", &loaded.config, 0);
  return dumper.take();
}

}  // namespace altlas::config
