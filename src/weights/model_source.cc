#include "weights/model_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <system_error>

#include "base/units.h"
#include "weights/pull.h"

namespace altlas::weights {
namespace fs = std::filesystem;
namespace {

// Returns a folder's entries by name, at most kFolderEntriesMax; none if the folder can't be read.
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end;
       !failed && at != end && out.size() < kFolderEntriesMax; at.increment(failed))
    out.push_back(at->path());
  std::ranges::sort(out);
  return out;
}

bool is_file(const fs::path& path) {
  std::error_code failed;
  return fs::is_regular_file(path, failed);
}
bool is_folder(const fs::path& path) {
  std::error_code failed;
  return fs::is_directory(path, failed);
}
uint64_t bytes_of(const fs::path& path) {
  std::error_code failed;
  const auto bytes = fs::file_size(path, failed);
  return failed ? 0 : bytes;
}

// Returns the sum over the shards for a split model's first file, and any other file's own size.
uint64_t model_bytes(const fs::path& path) {
  uint32_t number = 0, count = 0;
  const std::string name = path.filename().string();
  if (!parse_shard_name(name, number, count)) return bytes_of(path);
  uint64_t sum = 0;
  const std::string stem =
      name.substr(0, name.size() - std::string_view("00001-of-00001.gguf").size());
  for (uint32_t i = 1; i <= std::min<uint32_t>(count, kFolderEntriesMax); ++i)
    sum += bytes_of(path.parent_path() / fmt::format("{}{:05}-of-{:05}.gguf", stem, i, count));
  return sum;
}

// Returns the models among a folder's GGUF files. Shards after the first belong to the first.
std::vector<fs::path> gguf_models(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const fs::path& path : entries(folder)) {
    uint32_t number = 0, count = 0;
    if (path.extension() != ".gguf" || !is_file(path)) continue;
    if (parse_shard_name(path.filename().string(), number, count) && number != 1) continue;
    out.push_back(path);
  }
  return out;
}

bool has_safetensors(const fs::path& folder) {
  if (!is_file(folder / "config.json")) return false;
  return std::ranges::any_of(
      entries(folder), [](const fs::path& path) { return path.extension() == ".safetensors"; });
}
uint64_t safetensors_bytes(const fs::path& folder) {
  uint64_t sum = 0;
  for (const fs::path& path : entries(folder))
    sum += path.extension() == ".safetensors" ? bytes_of(path) : 0;
  return sum;
}

Result<ModelSource> from_folder(std::string_view name, const fs::path& folder) {
  const std::vector<fs::path> models = gguf_models(folder);
  if (models.size() == 1)
    return ModelSource{std::string(name),  ModelOrigin::kFile,     ModelFormat::kGguf,
                       models[0].string(), model_bytes(models[0]), true};
  if (models.empty() && has_safetensors(folder))
    return ModelSource{std::string(name), ModelOrigin::kFile,        ModelFormat::kSafetensors,
                       folder.string(),   safetensors_bytes(folder), true};
  if (models.empty())
    return invalid(fmt::format(
        "{}: the folder holds neither a .gguf file nor a config.json with .safetensors files",
        name));
  std::string list;
  for (size_t i = 0; i < std::min<size_t>(models.size(), 10); ++i)
    list += (i > 0 ? ", " : "") + models[i].filename().string();
  return invalid(fmt::format("{}: the folder holds {} models ({}{}); name one of the files", name,
                             models.size(), list, models.size() > 10 ? ", ..." : ""));
}

std::string read_text(const fs::path& path, uint64_t bytes_max) {
  if (!is_file(path) || bytes_of(path) > bytes_max) return "";
  std::ifstream file(path, std::ios::binary);
  std::string text(bytes_max, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

// The models lie in models--ORG--NAME/snapshots/REVISION/*.gguf; refs/main holds the revision in
// use.
void add_hugging_face(const fs::path& hub, std::vector<ModelSource>& out) {
  for (const fs::path& repository : entries(hub)) {
    std::string name = repository.filename().string();
    if (!name.starts_with("models--")) continue;
    name = name.substr(8);
    if (const size_t dashes = name.find("--"); dashes != std::string::npos)
      name.replace(dashes, 2, "/");
    std::string revision = read_text(repository / "refs" / "main", 128);
    revision.erase(
        std::ranges::find_if_not(revision, [](unsigned char c) { return std::isxdigit(c) != 0; }),
        revision.end());
    const std::vector<fs::path> snapshots = entries(repository / "snapshots");
    if (snapshots.empty()) continue;
    fs::path snapshot = repository / "snapshots" / revision;
    if (revision.empty() || !is_folder(snapshot)) snapshot = snapshots.back();
    const std::vector<fs::path> models = gguf_models(snapshot);
    for (const fs::path& path : models)
      out.push_back({models.size() == 1 ? name : name + ":" + path.filename().string(),
                     ModelOrigin::kHuggingFace, ModelFormat::kGguf, path.string(),
                     model_bytes(path), true});
    if (models.empty() && has_safetensors(snapshot))
      out.push_back({name, ModelOrigin::kHuggingFace, ModelFormat::kSafetensors, snapshot.string(),
                     safetensors_bytes(snapshot), true});
  }
}

// Returns the blob's file name from a manifest: "sha256-" and 64 hex digits, so that it can't lead
// out of the folder; "" if it is none.
std::string model_blob(const std::string& manifest) {
  namespace json = boost::json;
  json::error_code failed;
  // Boost's depth limit of 32 is enough here.
  const json::value parsed = json::parse(manifest, failed);
  const json::object* root = failed ? nullptr : parsed.if_object();
  const json::value* layers = root != nullptr ? root->if_contains("layers") : nullptr;
  if (layers == nullptr || !layers->is_array()) return "";
  for (const json::value& layer : layers->get_array()) {
    const json::object* object = layer.if_object();
    if (object == nullptr) continue;
    const json::value* type = object->if_contains("mediaType");
    const json::value* digest = object->if_contains("digest");
    if (type == nullptr || digest == nullptr || !type->is_string() || !digest->is_string())
      continue;
    const std::string_view text = digest->get_string();
    const bool hex = text.size() == 71 && text.starts_with("sha256:") &&
                     text.find_first_not_of("0123456789abcdef", 7) == std::string_view::npos;
    if (std::string_view(type->get_string()) == "application/vnd.ollama.image.model" && hex)
      return "sha256-" + std::string(text.substr(7));
  }
  return "";
}

// Each manifests/REGISTRY/NAMESPACE/NAME/TAG is JSON that names the blob.
void add_ollama(const fs::path& root, std::vector<ModelSource>& out) {
  for (const fs::path& registry : entries(root / "manifests"))
    for (const fs::path& space : entries(registry))
      for (const fs::path& model : entries(space))
        for (const fs::path& tag : entries(model)) {
          if (out.size() >= kFolderEntriesMax) return;
          const std::string blob = model_blob(read_text(tag, kManifestBytesMax));
          const fs::path path = root / "blobs" / blob;
          if (blob.empty() || !is_file(path)) continue;
          std::string name = model.filename().string() + ":" + tag.filename().string();
          if (space.filename() != "library") name = space.filename().string() + "/" + name;
          if (registry.filename() != "registry.ollama.ai")
            name = registry.filename().string() + "/" + name;
          out.push_back({name, ModelOrigin::kOllama, ModelFormat::kGguf, path.string(),
                         bytes_of(path), true});
        }
}

ModelSource from_catalogue(const CatalogueEntry& entry, const ModelFolders& folders) {
  return {entry.name,         ModelOrigin::kCatalogue,
          ModelFormat::kGguf, cached_path(entry, folders.cache),
          entry.bytes,        is_cached(entry, folders.cache)};
}

Error unknown_model(std::string_view model, const std::vector<ModelSource>& known) {
  std::vector<std::string_view> names;
  std::string list;
  for (const ModelSource& source : known) {
    names.push_back(source.name);
    if (names.size() <= 20) list += (list.empty() ? "" : ", ") + source.name;
  }
  const std::string_view near = did_you_mean(model, names.data(), names.size());
  return not_found(fmt::format("no model '{}': it is not a file or folder here, nor one of {}{}{}",
                               model, list, names.size() > 20 ? ", ..." : "",
                               near.empty() ? "" : fmt::format("; did you mean {}?", near)))
      .with_field("model");
}

}  // namespace

std::string_view to_string(ModelOrigin origin) {
  switch (origin) {
    case ModelOrigin::kFile:
      return "file";
    case ModelOrigin::kCatalogue:
      return "catalogue";
    case ModelOrigin::kHuggingFace:
      return "hugging_face";
    case ModelOrigin::kOllama:
      return "ollama";
  }
  return "file";
}

bool parse_shard_name(std::string_view name, uint32_t& number, uint32_t& count) {
  // It is the length of "-00001-of-00003.gguf".
  constexpr size_t kSuffix = 20;
  if (name.size() <= kSuffix) return false;
  const std::string_view suffix = name.substr(name.size() - kSuffix);
  if (suffix[0] != '-' || suffix.substr(6, 4) != "-of-" || suffix.substr(15) != ".gguf")
    return false;
  const auto digits = [](std::string_view text, uint32_t& out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failed == std::errc() && end == text.data() + text.size();
  };
  return digits(suffix.substr(1, 5), number) && digits(suffix.substr(10, 5), count) &&
         number >= 1 && number <= count;
}

Result<ModelSource> resolve_model(std::string_view model, const ModelFolders& folders) {
  if (model.empty()) return invalid("the model's name is empty", "model");
  const fs::path path(model);
  if (is_folder(path)) return from_folder(model, path);
  if (is_file(path))
    return ModelSource{std::string(model), ModelOrigin::kFile, ModelFormat::kGguf,
                       path.string(),      model_bytes(path),  true};
  if (const CatalogueEntry* entry = find_in_catalogue(model))
    return from_catalogue(*entry, folders);
  const std::vector<ModelSource> known = list_models(folders);
  const auto named = [model](const ModelSource& source) { return source.name == model; };
  if (const auto found = std::ranges::find_if(known, named); found != known.end()) return *found;
  // Ollama takes this tag if none is given.
  const std::string latest = std::string(model) + ":latest";
  if (const auto found = std::ranges::find(known, latest, &ModelSource::name); found != known.end())
    return *found;
  return unknown_model(model, known);
}

std::vector<ModelSource> list_models(const ModelFolders& folders) {
  std::vector<ModelSource> out;
  for (const CatalogueEntry& entry : catalogue()) out.push_back(from_catalogue(entry, folders));
  const auto listed = static_cast<ptrdiff_t>(out.size());
  if (!folders.hugging_face.empty()) add_hugging_face(folders.hugging_face, out);
  if (!folders.ollama.empty()) add_ollama(folders.ollama, out);
  std::sort(out.begin() + listed, out.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

}  // namespace altlas::weights
