// Finds the model that a `--model` value means: a file, a folder, a catalogue name, or what local
// caches hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "weights/catalogue.h"

namespace altlas::weights {

// Folders to look in; an empty one is skipped. The caller knows where they are.
struct ModelFolders {
  std::string cache;         // Our own: pulled models.
  std::string hugging_face;  // The hub cache, such as ~/.cache/huggingface/hub.
  std::string ollama;        // Such as ~/.ollama/models.
};

enum class ModelOrigin : uint8_t { kFile, kCatalogue, kHuggingFace, kOllama };
std::string_view to_string(ModelOrigin origin);
enum class ModelFormat : uint8_t { kGguf, kSafetensors };

struct ModelSource {
  std::string name;  // As `--model` takes it.
  ModelOrigin origin;
  ModelFormat format;
  // kGguf: the file (of a split model, its first). kSafetensors: the folder with config.json. For a
  // catalogue entry that is not there yet, where pull() will put it.
  std::string path;
  // The bytes of the file, or of all the model's files; of an absent one, what a pull fetches.
  uint64_t bytes;
  bool present;    // False only for a catalogue entry that must be pulled first.
};

// Limits on what a folder of somebody else's can make us read.
inline constexpr size_t kFolderEntriesMax = 10'000;
inline constexpr uint64_t kManifestBytesMax = 1 << 20;

// A path wins over a catalogue name, that over a cached one.
// Errors: kNotFound, listing what is known and the nearest name; kInvalid for a folder with no
// model or more than one.
Result<ModelSource> resolve_model(std::string_view model, const ModelFolders& folders);

// Every catalogue entry, then what the caches hold, by name. Caches that can't be read are as empty
// ones.
std::vector<ModelSource> list_models(const ModelFolders& folders);

// The shard number and count of NAME-00001-of-00003.gguf; false for a file that is no shard.
bool parse_shard_name(std::string_view file_name, uint32_t& number, uint32_t& count);

}  // namespace altlas::weights
