// From flags, environment and file to what a command works with: configuration, devices, models.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/load.h"
#include "control/core_setup.h"
#include "device/spec.h"
#include "server/prompt/prompt.h"
#include "weights/model_source.h"

namespace CLI {
class App;
}

namespace altlas::cli {

// Which of the settings flags a command takes.
enum class FlagSet : uint8_t { kServer = 1, kEngine = 2, kAll = 3 };

// Flags that set configuration values, collected as they are parsed, and the file they stand over.
struct SettingFlags {
  std::string config_file;
  std::vector<config::Flag> flags;
  std::string model;              // --model.
  std::string served_model_name;  // --served-model-name.
};
// Adds the flags to `app`; `out` lives as long as `app`.
void add_setting_flags(CLI::App& app, SettingFlags& out, FlagSet set);

// Reads the file and the environment and loads. Prints warnings, and every error, to standard
// error. Errors: kInvalid, already printed (message empty).
Result<config::Loaded> load_config(const SettingFlags& flags);

// The environment and the flags as a load takes them, without a file.
config::LoadInput load_input(const SettingFlags& flags);
// Checks the configuration of flags, file and environment, prints what is wrong or that it is
// valid; the exit code.
int check_config(const SettingFlags& flags);

// Empty where it is not set.
std::string environment_value(const char* name);
// A whole file; `what` ("--config") begins the message.  Errors: kNotFound, kInvalid (a folder),
// kTooLarge.
Result<std::string> read_text_file(const std::string& path, std::string_view what,
                                   uint64_t bytes_max);

// Where models and state live (XDG base directory specification).
weights::ModelFolders model_folders();
std::string state_folder(const config::Config& config);  // Empty: keep nothing.

// The devices of engine.devices; without it one cpu. Logs threads_notice() as a warning.
// Errors: kInvalid, kNotFound, kUnsupported for cuda.
Result<std::vector<control::DeviceSetup>> make_devices(const config::Config& config);

// A warning about cpu devices with more threads than there are CPUs; empty: there are none.
std::string threads_notice(std::span<const device::DeviceSpec> devices, uint32_t cpus);

// Applies engine.simd, or ALTLAS_SIMD, to this process and those it starts. Before there are
// threads. Errors: kInvalid, kUnsupported.
Result<void> apply_simd(const config::Config& config);
// Logs, as a warning, if the chosen SIMD target has bits of its own.
void warn_of_simd();

// Where packed weights are kept; empty: nowhere (engine.repack_cache).
std::string repack_folder(const config::EngineConfig& config);

// Tokenizer and chat template of a model file.
struct ParsedModelText {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // Null: none.
  text::ToolFormat tool_format = text::ToolFormat::kHermes;
  text::ReasoningTags reasoning;
  std::string chat_template_error;  // Why it can't be used.
  server::PartRoles part_roles;
  uint32_t call_id_size = 0;
};
// `entry`: what section `models` says of it, may be null. Errors: as engine::open_model_text;
// kInvalid for a tokenizer or a chat template of `entry` that can't be used.
Result<ParsedModelText> load_model_text(const std::string& path,
                                        const config::ModelConfig* entry = nullptr);

// Pulls a catalogue entry into the cache, with a progress bar on standard error.
Result<std::string> pull_with_progress(const weights::CatalogueEntry& entry,
                                       const std::string& cache);

// The file of a --model value ("": the default catalogue model), fetched first where it is a
// catalogue entry that is not there. Progress goes to standard error.  Errors: kNotFound, kInvalid,
// kIo.
Result<std::string> model_file(const std::string& model);

}  // namespace altlas::cli
