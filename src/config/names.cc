#include "config/names.h"

#include <vector>

#include "base/units.h"

namespace altlas {

std::string_view name_of(std::span<const EnumName> table, uint8_t value) {
  for (const EnumName& row : table) {
    if (row.value == value) return row.name;
  }
  return "";
}

std::string list_names(std::span<const EnumName> table) {
  std::string text;
  for (const EnumName& row : table) {
    if (name_of(table, row.value) != row.name) continue;
    if (!text.empty()) text += ", ";
    text += row.name;
  }
  return text;
}

std::string_view nearest_name(std::string_view text, std::span<const std::string_view> names) {
  if (text.size() > 128) return "";
  const std::string_view near = did_you_mean(text, names.data(), names.size());
  if (!near.empty()) return near;
  std::string swapped(text);
  for (size_t i = 0; i + 1 < swapped.size(); ++i) {
    std::swap(swapped[i], swapped[i + 1]);
    for (const std::string_view name : names) {
      if (name == swapped) return name;
    }
    std::swap(swapped[i], swapped[i + 1]);
  }
  return "";
}

Result<size_t> find_name(std::span<const EnumName> table, std::string_view text) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < table.size(); ++i) {
    if (table[i].name == text) return i;
    names.push_back(table[i].name);
  }
  // A name longer than any of ours is neither compared nor shown in full.
  std::string message =
      "'" + std::string(text.substr(0, 64)) + "' is not one of " + list_names(table);
  const std::string_view near = nearest_name(text, names);
  if (!near.empty()) message += " (did you mean " + std::string(near) + "?)";
  return invalid(std::move(message));
}

}  // namespace altlas
