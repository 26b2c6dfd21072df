#include "cli/setup.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/byte_order_mark.h"
#include "base/check.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/command.h"
#include "config/reference.h"
#include "config/validate.h"
#include "device/cuda/nvml.h"
#include "engine/tokenizer.h"
#include "hardware/device_kinds.h"
#include "ops/simd.h"
#include "server/prompt/call_id.h"
#include "weights/pull.h"

extern char** environ;

namespace altlas::cli {
namespace {

constexpr uint64_t kConfigBytesMax = uint64_t{16} << 20;
constexpr uint64_t kTemplateBytesMax = uint64_t{1} << 20;

struct SettingFlag {
  const char* flag;
  const char* path;
  FlagSet set;
};
// Flags that stand for a setting; their help, default and range come from the setting's metadata.
constexpr SettingFlag kSettingFlags[] = {
    {"--host", "server.host", FlagSet::kServer},
    {"--port", "server.port", FlagSet::kServer},
    {"--api-key", "auth.api_keys", FlagSet::kServer},
    {"--api-key-file", "auth.keys_file", FlagSet::kServer},
    {"--tls-cert", "server.tls_cert", FlagSet::kServer},
    {"--tls-key", "server.tls_key", FlagSet::kServer},
    {"--data-dir", "store.data_dir", FlagSet::kServer},
    {"--strategy", "gpu.multi_gpu.default_strategy", FlagSet::kServer},
    {"--log-level", "monitoring.log_level", FlagSet::kServer},
    {"--devices", "engine.devices", FlagSet::kEngine},
    {"--tensor-parallel-size", "engine.tensor_parallel_size", FlagSet::kEngine},
    {"--tensor-split", "engine.tensor_split", FlagSet::kEngine},
    {"--pipeline-parallel-size", "engine.pipeline_parallel_size", FlagSet::kEngine},
    {"--pipeline-split", "engine.pipeline_split", FlagSet::kEngine},
    {"--pipeline-micro-batches", "engine.pipeline_micro_batches", FlagSet::kEngine},
    {"--expert-parallel-size", "engine.expert_parallel_size", FlagSet::kEngine},
    {"--max-model-len", "engine.max_model_len", FlagSet::kEngine},
    {"--max-num-seqs", "engine.max_sequences", FlagSet::kEngine},
    {"--max-num-batched-tokens", "engine.step_tokens_max", FlagSet::kEngine},
    {"--dtype", "engine.dtype", FlagSet::kEngine},
    {"--kv-dtype", "engine.kv_dtype", FlagSet::kEngine},
    {"--gpu-memory-utilization", "engine.gpu_memory_utilization", FlagSet::kEngine},
    {"--simd", "engine.simd", FlagSet::kEngine},
    {"--swap-bytes", "engine.swap_bytes", FlagSet::kEngine},
    {"--offload-layers", "engine.offload_layers", FlagSet::kEngine},
    {"--stream-weights", "engine.stream_weights", FlagSet::kEngine},
    {"--speculative-tokens", "engine.speculative_tokens", FlagSet::kEngine},
    {"--draft-model", "engine.draft_model", FlagSet::kEngine},
    {"--lora-folder", "engine.lora_folders", FlagSet::kServer},
    {"--max-loras", "engine.max_loras", FlagSet::kServer},
    {"--max-lora-rank", "engine.max_lora_rank", FlagSet::kEngine},
    {"--tool-call-parser", "engine.tool_call_parser", FlagSet::kServer},
};

// Variables that are no settings: the kernels' switch, the client's server, what a server hands to
// its workers, folders, and those of tests.
bool is_own_variable(std::string_view name) {
  return name == "ALTLAS_SIMD" || name == "ALTLAS_URL" || name == "ALTLAS_CACHE" ||
         name == "ALTLAS_BINARY" || name.starts_with("ALTLAS_WORKER_") ||
         name.starts_with("ALTLAS_TEST_");
}

std::string under_home(const char* variable, const char* fallback) {
  const std::string base = environment_value(variable);
  if (!base.empty()) return base;
  const std::string home = environment_value("HOME");
  return home.empty() ? std::string() : home + "/" + fallback;
}

}  // namespace

int fail(const Error& error) {
  // fmt::print would throw where standard error can't be written.
  if (!error.message().empty()) std::fputs(("altlas: " + error.message() + "\n").c_str(), stderr);
  switch (error.code()) {
    case ErrorCode::kInvalid:
    case ErrorCode::kNotFound:
    case ErrorCode::kUnsupported:
    case ErrorCode::kTooLarge:
      return kExitUsage;
    default:
      return kExitFailed;
  }
}

namespace {
std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// Joins all values of --lora NAME=PATH into one map.
Result<std::string> lora_map(const std::vector<std::string>& values) {
  std::string out = "{";
  for (const std::string& value : values) {
    const size_t equals = value.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == value.size())
      return invalid(fmt::format("'{}': write NAME=PATH", value));
    out += json_text(value.substr(0, equals)) + ": " + json_text(value.substr(equals + 1)) + ",";
  }
  out.back() = '}';
  return out;
}
}  // namespace

void add_setting_flags(CLI::App& app, SettingFlags& out, FlagSet set) {
  app.add_option("--config", out.config_file, "Configuration file (YAML)");
  app.add_option("--model", out.model,
                 "A file, a folder, a catalogue name, or a cached Hugging Face or Ollama name");
  app.add_option("--served-model-name", out.served_model_name, "The model's id in the APIs");
  for (const SettingFlag& one : kSettingFlags) {
    if ((static_cast<uint8_t>(one.set) & static_cast<uint8_t>(set)) == 0) continue;
    const config::SettingRow* row = config::find_setting(one.path);
    ALTLAS_CHECK(row != nullptr, one.path);
    const bool is_switch = row->type == "boolean";
    const auto keep = [&out, one, is_switch](const std::vector<std::string>& values) {
      for (const std::string& value : values)
        out.flags.push_back({one.path, is_switch && value.empty() ? "true" : value, one.flag});
      return true;
    };
    CLI::Option* option = app.add_option(one.flag, keep, config::flag_help(*row));
    option->type_name("")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    if (is_switch) option->expected(0, 1);  // "--flag" alone turns it on.
  }
  if ((static_cast<uint8_t>(set) & static_cast<uint8_t>(FlagSet::kEngine)) == 0) return;
  const auto keep_lora = [&out](const std::vector<std::string>& values) {
    const Result<std::string> map = lora_map(values);
    if (map.ok()) out.flags.push_back({"engine.lora_modules", *map, "--lora"});
    return map.ok();
  };
  app.add_option("--lora,--lora-modules", keep_lora,
                 "LoRA adapter NAME=PATH of the default model: a GGUF file or a PEFT folder; "
                 "requests give NAME as their model")
      ->type_name("")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

config::LoadInput load_input(const SettingFlags& flags) {
  config::LoadInput input;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view entry(*variable);
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos || is_own_variable(entry.substr(0, equals))) continue;
    input.environment.emplace_back(std::string(entry.substr(0, equals)),
                                   std::string(entry.substr(equals + 1)));
  }
  input.flags = flags.flags;
  return input;
}

Result<config::Loaded> load_config(const SettingFlags& flags) {
  config::LoadInput input = load_input(flags);
  if (!flags.config_file.empty()) {
    ALTLAS_TRY(std::string text, read_text_file(flags.config_file, "--config", kConfigBytesMax));
    input.file = config::TextSource{flags.config_file, std::move(text)};
  }
  config::LoadReport report = config::load_report(input);
  for (const config::Problem& problem : report.loaded.warnings)
    fmt::print(stderr, "altlas: warning: {}\n", to_string(problem));
  for (const config::Problem& problem : report.errors)
    fmt::print(stderr, "altlas: {}\n", to_string(problem));
  if (!report.errors.empty()) return invalid("");
  return std::move(report.loaded);
}

weights::ModelFolders model_folders() {
  weights::ModelFolders folders;
  const std::string own = environment_value("ALTLAS_CACHE");
  const std::string cache = under_home("XDG_CACHE_HOME", ".cache");
  folders.cache = !own.empty()    ? own
                  : cache.empty() ? "/var/cache/altlas"
                                  : cache + "/altlas/models";
  const std::string hub = environment_value("HF_HUB_CACHE"), hf_home = environment_value("HF_HOME");
  folders.hugging_face = !hub.empty()       ? hub
                         : !hf_home.empty() ? hf_home + "/hub"
                         : cache.empty()    ? ""
                                            : cache + "/huggingface/hub";
  const std::string ollama = environment_value("OLLAMA_MODELS"), home = environment_value("HOME");
  folders.ollama = !ollama.empty() ? ollama : home.empty() ? "" : home + "/.ollama/models";
  return folders;
}

std::string state_folder(const config::Config& config) {
  if (config.store.data_dir == "none") return "";
  if (!config.store.data_dir.empty()) return config.store.data_dir;
  const std::string base = under_home("XDG_STATE_HOME", ".local/state");
  return base.empty() ? "/var/lib/altlas" : base + "/altlas";
}

std::string threads_notice(std::span<const device::DeviceSpec> devices, uint32_t cpus) {
  uint32_t most = 0;
  for (const device::DeviceSpec& one : devices) most = std::max(most, one.threads);
  if (most <= cpus) return "";
  return fmt::format(
      "--devices: {} threads of a cpu device share {} CPU{} and wait for each other, which is much "
      "slower than cpu:1:{}",
      most, cpus, cpus == 1 ? "" : "s", cpus);
}

Result<std::vector<control::DeviceSetup>> make_devices(const config::Config& config) {
  device::MachineFacts machine = device::probe_machine();
  machine.cuda_count = static_cast<uint32_t>(device::nvml_inventory().gpus.size());
  std::string spec = config.engine.devices;
  if (spec.empty())
    spec = "cpu";  // CUDA GPUs can't compute in this build; `altlas doctor` lists them.
  ALTLAS_TRY(const auto parts, device::parse_device_spec(spec, machine));
  if (const std::string notice = threads_notice(parts, machine.cores); !notice.empty())
    log::warn("{}", notice);
  std::vector<control::DeviceSetup> devices;
  for (const device::DeviceSpec& part : parts) {
    control::DeviceSetup setup;
    setup.id = DeviceId{static_cast<int32_t>(devices.size())};
    setup.kind = std::string(to_string(part.kind));
    setup.spec = to_string(part);
    setup.memory_total = part.memory_bytes;
    setup.cpu_first = part.cpu_first;
    if (part.kind == device::DeviceKind::kCpu) {
      setup.name =
          fmt::format("{} ({} thread{})", machine.cpu_model.empty() ? "CPU" : machine.cpu_model,
                      part.threads, part.threads == 1 ? "" : "s");
    } else if (part.kind == device::DeviceKind::kSim) {
      ALTLAS_TRY(const DeviceKindInfo kind, device_kind(part.name));
      setup.name = std::string(kind.name);
      if (setup.memory_total == 0) setup.memory_total = kind.memory_bytes;
    } else {
      return Error(
          ErrorCode::kUnsupported,
          "--devices: this build computes on cpu and sim; `altlas doctor` lists the cuda devices");
    }
    devices.push_back(std::move(setup));
  }
  return devices;
}

Result<void> apply_simd(const config::Config& config) {
  std::string name = config.engine.simd;
  if (name.empty()) name = environment_value("ALTLAS_SIMD");
  if (name.empty()) return {};
  ALTLAS_TRY(const ops::SimdTarget target, ops::parse_simd_target(name));
  setenv("ALTLAS_SIMD", name.c_str(), 1);  // Workers that this process starts inherit it.
  return ops::set_simd_target(target);
}

void warn_of_simd() {
  if (const std::string notice = ops::simd_notice(ops::simd_target()); !notice.empty())
    log::warn("{}", notice);
}

std::string repack_folder(const config::EngineConfig& config) {
  if (!config.repack_cache) return "";
  const std::string own = environment_value("ALTLAS_CACHE");
  if (!own.empty()) return own + "/panels";
  const std::string cache = under_home("XDG_CACHE_HOME", ".cache");
  return cache.empty() ? "/var/cache/altlas/panels" : cache + "/altlas/panels";
}

Result<std::string> read_text_file(const std::string& path, std::string_view what,
                                   uint64_t bytes_max) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return invalid(fmt::format("{}: '{}' is a folder: name a file", what, path));
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return not_found(fmt::format("{}: '{}' can't be read: {}", what, path, std::strerror(errno)));
  std::string text(64 * 1024, '\0');
  size_t size = 0;
  while (file.read(text.data() + size, static_cast<std::streamsize>(text.size() - size)),
         file.gcount() > 0) {
    size += static_cast<size_t>(file.gcount());
    if (size > bytes_max)
      return Error(ErrorCode::kTooLarge,
                   fmt::format("{}: '{}' has more than {} bytes", what, path, bytes_max));
    if (size == text.size()) text.resize(text.size() * 2);
  }
  text.resize(size);
  ALTLAS_TRY(const std::string_view plain,
             skip_byte_order_mark(text, fmt::format("{}: '{}'", what, path)));
  return std::string(plain);
}

std::string environment_value(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

namespace {

// Returns the template that `entry` names, else the tokenizer's, else the model's own.
Result<std::string> chat_template_of(const std::string& path, const config::ModelConfig& entry,
                                     std::string found) {
  if (!entry.chat_template.empty())
    return read_text_file(entry.chat_template,
                          fmt::format("models: '{}': chat_template", entry.name),
                          kTemplateBytesMax);
  if (!found.empty() || entry.tokenizer.empty()) return found;
  auto own = engine::open_model_text(path);
  return own.ok() ? std::move(own->chat_template) : std::string();
}

}  // namespace

Result<ParsedModelText> load_model_text(const std::string& path, const config::ModelConfig* entry) {
  static const config::ModelConfig kNone;
  const config::ModelConfig& said = entry == nullptr ? kNone : *entry;
  auto made = engine::open_model_text(said.tokenizer.empty() ? path : said.tokenizer);
  if (!made.ok() && !said.tokenizer.empty())
    return Error(made.error()).with_context(fmt::format("models: '{}': tokenizer", said.name));
  if (!made.ok()) return made.error();
  ParsedModelText out;
  out.tokenizer = std::move(made->tokenizer);
  ALTLAS_TRY(const std::string source,
             chat_template_of(path, said, std::move(made->chat_template)));
  out.tool_format = text::tool_format_of(source);
  out.reasoning = text::reasoning_of(source);
  out.call_id_size = server::call_id_size(source, out.tool_format);
  if (source.empty()) return out;
  auto compiled = text::ChatTemplate::compile(source);
  if (compiled.ok()) {
    out.chat_template = std::make_shared<const text::ChatTemplate>(*std::move(compiled));
    out.part_roles = server::part_roles_of(*out.chat_template);
  } else if (!said.chat_template.empty()) {
    return Error(compiled.error())
        .with_context(
            fmt::format("models: '{}': chat_template '{}'", said.name, said.chat_template));
  } else {
    out.chat_template_error = compiled.error().message();
    log::warn("{}: its chat template can't be used, chat routes will refuse: {}", path,
              compiled.error().message());
  }
  return out;
}

Result<std::string> model_file(const std::string& model) {
  const weights::ModelFolders folders = model_folders();
  ALTLAS_TRY(
      const weights::ModelSource source,
      weights::resolve_model(model.empty() ? std::string(weights::kDefaultModel) : model, folders));
  if (source.present) return source.path;
  ALTLAS_TRY(const weights::CatalogueEntry entry, weights::catalogue_entry(source.name));
  return pull_with_progress(entry, folders.cache);
}

}  // namespace altlas::cli
