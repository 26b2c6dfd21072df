#include "config/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/document.h"
#include "config/not_yet.h"
#include "config/reference.h"
#include "config/validate.h"

namespace altlas::config {
namespace {

using ::testing::HasSubstr;

std::string read(const std::string& path) {
  std::ifstream in(std::string(ALTLAS_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(in.good()) << path;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

LoadInput file(std::string text) { return {.file = TextSource{"a.yaml", std::move(text)}}; }

bool is_mark(const Problem& problem) { return problem.what.starts_with("nothing reads it yet"); }

// Loads a file whose settings may be such that nothing reads them yet.
Loaded load_marked(const std::string& text) {
  LoadReport report = load_report(file(text));
  for (const Problem& problem : report.errors) EXPECT_TRUE(is_mark(problem)) << to_string(problem);
  return std::move(report.loaded);
}

// Returns the file's one error as a line, apart from errors about settings that nothing reads yet.
std::string only_error(const std::string& text) {
  LoadReport report = load_report(file(text));
  std::erase_if(report.errors, is_mark);
  EXPECT_EQ(report.errors.size(), 1u) << text.substr(0, 200);
  for (size_t i = 1; i < report.errors.size(); ++i) ADD_FAILURE() << to_string(report.errors[i]);
  return report.errors.empty() ? "" : to_string(report.errors[0]);
}

// Goal: the defaults are valid as they are and are those of the specification. Method: an empty
// input.
TEST(Load, Defaults) {
  const auto loaded = load({});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  const Config& config = loaded->config;
  EXPECT_EQ(config.server.port, 8000);
  EXPECT_EQ(config.server.host, "127.0.0.1");
  EXPECT_EQ(config.server.body_bytes_max, 8 << 20);
  EXPECT_EQ(config.gpu.memory_threshold, 0.95);
  EXPECT_EQ(config.gpu.multi_gpu.max_queue_size, 1000);
  EXPECT_EQ(config.gpu.multi_gpu.default_strategy, Strategy::kLeastLoaded);
  EXPECT_EQ(config.engine.gpu_memory_utilization, 0.9);
  EXPECT_EQ(config.store.tokens, TokenJournal::kAsync);
  EXPECT_TRUE(loaded->warnings.empty());
  EXPECT_TRUE(loaded->origins.empty());
}

// Goal: the configuration of an older server loads as it stands. Method: its text, comments and
// Turkish letters included.
TEST(Load, SeedYaml) {
  const auto loaded = load(file(R"(gpu:
  multi_gpu:
    default_strategy: "task_specific"
    task_specific_mappings:
      image_segmentation: "gpu_0"  # Görüntü segmentasyonu için GPU 0
      text_generation: "gpu_1"     # Metin üretimi için GPU 1
      object_detection: "gpu_2"    # Nesne tespiti için GPU 2
)"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  const MultiGpuConfig& multi = loaded->config.gpu.multi_gpu;
  EXPECT_EQ(multi.default_strategy, Strategy::kTaskSpecific);
  ASSERT_EQ(multi.task_specific_mappings.size(), 3u);
  EXPECT_EQ(multi.task_specific_mappings.at("text_generation"), std::vector<int64_t>{1});
  EXPECT_TRUE(validate_devices(loaded->config, 3).empty());
  const auto findings = validate_devices(loaded->config, 2);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].path, "gpu.multi_gpu.task_specific_mappings.object_detection");
  EXPECT_EQ(findings[0].what, "gpu_2 is not there: the devices are gpu_0 to gpu_1");
}

// Goal: every way to write a device, a list, a level order. Method: one file with all of them.
TEST(Load, Forms) {
  const auto loaded = load(file(R"(
gpu:
  multi_gpu:
    task_specific_mappings: {a: 0, b: [gpu_1, 2], c: "gpu_3"}
    queue_priority_levels: {low: 0, high: 2, normal: 1}
    strategies: [random, least_loaded]
server: {body_bytes_max: 16MiB, cors_origins: "*"}
store:   # nothing set
engine:
  swap_bytes: 1024
)"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  const MultiGpuConfig& multi = loaded->config.gpu.multi_gpu;
  EXPECT_EQ(multi.task_specific_mappings.at("b"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(multi.task_specific_mappings.at("c"), std::vector<int64_t>{3});
  EXPECT_EQ(multi.queue_priority_levels,
            (std::vector<Priority>{Priority::kLow, Priority::kNormal, Priority::kHigh}));
  EXPECT_EQ(multi.strategies, (std::vector<Strategy>{Strategy::kRandom, Strategy::kLeastLoaded}));
  EXPECT_EQ(loaded->config.server.body_bytes_max, 16 << 20);
  EXPECT_EQ(loaded->config.server.cors_origins, std::vector<std::string>{"*"});
  EXPECT_EQ(loaded->config.engine.swap_bytes, 1024);
}

// Goal: flag over environment over file over preset over default, and the dump says which. Method:
// five settings, each with one source more.
TEST(Load, Priority) {
  LoadInput input = file("server: {port: 3, io_threads: 3, connections_max: 30}\n");
  input.presets = {
      {"p.yaml", "server: {port: 2, io_threads: 2, connections_max: 20, batch_items_max: 20}"}};
  input.environment = {
      {"ALTLAS_SERVER_PORT", "4"}, {"ALTLAS_SERVER_IO_THREADS", "4"}, {"HOME", "/x"}};
  input.flags = {{"server.port", "5", "--port"}};
  const auto loaded = load(input);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config.server.port, 5);
  EXPECT_EQ(loaded->config.server.io_threads, 4);
  EXPECT_EQ(loaded->config.server.connections_max, 30);
  EXPECT_EQ(loaded->config.server.batch_items_max, 20);
  const std::string text = dump(*loaded);
  EXPECT_THAT(text, HasSubstr("\n  port: 5  # flag --port\n"));
  EXPECT_THAT(text,
              HasSubstr("\n  io_threads: 4  # environment variable ALTLAS_SERVER_IO_THREADS\n"));
  EXPECT_THAT(text, HasSubstr("\n  connections_max: 30  # file a.yaml:1:51\n"));
  EXPECT_THAT(text, HasSubstr("\n  batch_items_max: 20  # preset p.yaml:1:"));
  EXPECT_THAT(text, HasSubstr("\n  host: \"127.0.0.1\"  # default\n"));
}

// Goal: lists by flag add up but replace the file's; lists by variable split at commas; API keys do
// not.
TEST(Load, ListsFromFlagsAndEnvironment) {
  LoadInput input = file("server: {cors_origins: [http://file]}\nauth: {api_keys: filekey}\n");
  input.environment = {{"ALTLAS_GPU_MULTI_GPU_STRATEGIES", "least_loaded, random"},
                       {"ALTLAS_API_KEY", "one,key"},
                       {"ALTLAS_GPU_MULTI_GPU_TASK_SPECIFIC_MAPPINGS", "{a: gpu_1}"}};
  input.flags = {{"server.cors_origins", "http://a", "--cors"},
                 {"server.cors_origins", "http://b", "--cors"}};
  const auto loaded = load(input);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config.server.cors_origins, (std::vector<std::string>{"http://a", "http://b"}));
  EXPECT_EQ(loaded->config.auth.api_keys, std::vector<std::string>{"one,key"});
  EXPECT_EQ(loaded->config.gpu.multi_gpu.strategies.size(), 2u);
  EXPECT_EQ(loaded->config.gpu.multi_gpu.task_specific_mappings.at("a"), std::vector<int64_t>{1});
}

// Goal: every error of a file at once, in order, each with line, column, path and help. Method: one
// mistake of each kind.
TEST(Load, AllErrorsAtOnce) {
  const LoadReport report = load_report(file(R"(server:
  prot: 1
  port: 70000
  tls_cert: [a]
gpu:
  memory_threshold: high
  multi_gpu:
    default_strategy: least_load
    max_queue_size: 1.5
    enabled: maybe
    task_specific_mappings: {a: first}
monitoring:
  log_level: loud
max_queue_size: 3
)"));
  std::vector<std::string> lines;
  for (const Problem& problem : report.errors) lines.push_back(to_string(problem));
  ASSERT_EQ(lines.size(), 10u) << ::testing::PrintToString(lines);
  EXPECT_THAT(
      lines[0],
      HasSubstr(
          "a.yaml:2:3: server.prot: unknown key (did you mean port?); known here: host, port"));
  EXPECT_EQ(lines[1], "a.yaml:3:9: server.port: '70000' is out of range: 0 to 65535");
  EXPECT_EQ(lines[2], "a.yaml:4:13: server.tls_cert: a list stands where one value belongs");
  EXPECT_EQ(lines[3], "a.yaml:6:21: gpu.memory_threshold: 'high' is not a number");
  EXPECT_THAT(
      lines[4],
      HasSubstr(
          "a.yaml:8:23: gpu.multi_gpu.default_strategy: 'least_load' is not one of round_robin, "));
  EXPECT_THAT(lines[4], HasSubstr("(did you mean least_loaded?)"));
  EXPECT_EQ(lines[5], "a.yaml:9:21: gpu.multi_gpu.max_queue_size: '1.5' is not a whole number");
  EXPECT_EQ(lines[6], "a.yaml:10:14: gpu.multi_gpu.enabled: 'maybe' is neither true nor false");
  EXPECT_EQ(lines[7],
            "a.yaml:11:33: gpu.multi_gpu.task_specific_mappings.a[0]: 'first' is not a device; "
            "write gpu_0 or 0");
  EXPECT_THAT(lines[8],
              HasSubstr("a.yaml:13:14: monitoring.log_level: 'loud' is not one of trace, debug"));
  EXPECT_THAT(
      lines[9],
      HasSubstr(
          "a.yaml:14:1: max_queue_size: unknown key (did you mean gpu.multi_gpu.max_queue_size?)"));
  const auto loaded = load(file("server: {port: x}"));
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(loaded.error().field(), "server.port");
}

// Goal: variables and flags that are wrong are named. Method: a bad value, an unknown path, a
// mistyped variable.
TEST(Load, FlagAndEnvironmentErrors) {
  LoadInput input;
  input.environment = {{"ALTLAS_SERVER_PORT", "x"},
                       {"ALTLAS_SERVER_PROT", "1"},
                       {"ALTLAS_DEPLOYMENTS", "{a: {model: [}"}};
  input.flags = {{"server.nothing", "1", "--nothing"}, {"engine.kv_dtype", "q4", "--kv-dtype"}};
  const LoadReport report = load_report(input);
  ASSERT_EQ(report.errors.size(), 4u);
  EXPECT_EQ(to_string(report.errors[0]),
            "environment variable ALTLAS_SERVER_PORT: server.port: 'x' is not a whole number");
  EXPECT_THAT(to_string(report.errors[1]), HasSubstr("environment variable ALTLAS_DEPLOYMENTS:1:"));
  EXPECT_EQ(to_string(report.errors[2]),
            "flag --nothing: server.nothing: there is no setting of this path");
  EXPECT_THAT(
      to_string(report.errors[3]),
      HasSubstr("flag --kv-dtype: engine.kv_dtype: 'q4' is not one of f16, bf16, f32, q8_0"));
  ASSERT_EQ(report.loaded.warnings.size(), 1u);
  EXPECT_EQ(
      to_string(report.loaded.warnings[0]),
      "environment variable ALTLAS_SERVER_PROT: sets nothing (did you mean ALTLAS_SERVER_PORT?)");
}

// Goal: secrets appear in no dump, row or message. Method: keys everywhere, one of them wrong.
TEST(Load, SecretsAreMasked) {
  const auto loaded =
      load(file("auth: {keys: {ann: {key: hidden1, role: admin}}, api_keys: [hidden2]}\n"
                "store: {url: 'sqlite:/hidden3/journal.db'}\n"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config.auth.keys[0].name, "ann");
  EXPECT_EQ(loaded->config.auth.keys[0].role, Role::kAdmin);
  EXPECT_EQ(dump(*loaded).find("hidden"), std::string::npos);
  EXPECT_THAT(dump(*loaded), HasSubstr("- name: \"ann\""));
  for (const Row& row : rows(*loaded))
    EXPECT_EQ(row.value.find("hidden"), std::string::npos) << row.path;
  const auto wrong =
      load(file("auth: {api_keys: ['hidden 4'], keys: [{name: a, key: [hidden5]}]}\n"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message().find("hidden"), std::string::npos) << wrong.error().message();
}

// Goal: a key in the wrong place is echoed by no message. Method: every place under `auth`, by
// file, variable and flag; a word that is nearly a setting's name is shown, since it helps.
TEST(Load, KeysInWrongPlacesAreNotEchoed) {
  for (const char* text :
       {"auth: hidden", "auth: [hidden]", "auth: {hidden: admin}", "auth: {keys: hidden}",
        "auth: {keys: [hidden]}", "auth: {keys: {hidden: admin}}", "auth: {keys: {a: hidden}}",
        "auth: {keys: [{hidden: a}]}", "auth: {keys: {hidden: {name: hidden, key: x}}}",
        "auth: {keys: {a: {key: x, role: hidden}}}", "auth: {keys: {a: {key: {hidden: x}}}}",
        "auth: {keys_file: [hidden]}", "auth: {api_keys: {hidden: x}}",
        "auth: {api_keys: [[hidden]]}", "store: 'postgresql://u:hidden@h/d'"}) {
    SCOPED_TRACE(text);
    const auto wrong = load(file(std::string(text) + "\n"));
    ASSERT_FALSE(wrong.ok());
    EXPECT_EQ(wrong.error().message().find("hidden"), std::string::npos) << wrong.error().message();
  }
  LoadInput input;
  input.environment = {{"ALTLAS_AUTH_KEYS", "hidden"}, {"ALTLAS_AUTH_KEYS_FILE", "/none"}};
  input.flags = {{"auth.keys", "[hidden]", "--key"}};
  const auto wrong = load(input);
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().message().find("hidden"), std::string::npos) << wrong.error().message();
  EXPECT_THAT(load(file("auth: {api_key: hidden}\n")).error().message(),
              HasSubstr("auth.api_key: unknown key (did you mean api_keys?)"));
}

// Goal: deployments as list or map, with older names, and their rules. Method: the
// numbers of an older server's file.
TEST(Load, Deployments) {
  const Loaded loaded = load_marked(R"(
models: {llama: {path: /m/llama.gguf}}
deployments:
  autoscaled-llm:
    model: llama
    num_gpus: 1
    max_ongoing_requests: 10
    user_config: {depth: 3, words: ["a", b], on: true, none: null, code: "007"}
    autoscaling_config:
      min_replicas: 1
      max_replicas: 8
      initial_replicas: 2
      target_num_ongoing_requests: 5
      upscale_delay_s: 15
      downscale_delay_s: 300
      upscale_smoothing_factor: 0.5
      downscale_smoothing_factor: 1.5
      look_back_period_s: 30
)");
  const DeploymentConfig& deployment = loaded.config.deployments.at(0);
  EXPECT_EQ(deployment.name, "autoscaled-llm");
  EXPECT_EQ(deployment.user_config,
            R"({"depth":3,"words":["a","b"],"on":true,"none":null,"code":"007"})");
  ASSERT_TRUE(deployment.autoscaling_config.has_value());
  EXPECT_EQ(deployment.autoscaling_config->target_ongoing_requests, 5);
  EXPECT_EQ(deployment.autoscaling_config->upscaling_factor, 0.5);
  EXPECT_EQ(deployment.autoscaling_config->initial_replicas, 2);
  ASSERT_EQ(loaded.warnings.size(), 4u);
  EXPECT_EQ(to_string(loaded.warnings[0]),
            "a.yaml:13:7: deployments[0].autoscaling_config.target_num_ongoing_requests: old name, "
            "write target_ongoing_requests");
  EXPECT_THAT(
      to_string(loaded.warnings[3]),
      HasSubstr("a.yaml:17:35: deployments[0].autoscaling_config.downscaling_factor: above 1"));
}

// Goal: rules across settings. Method: each broken alone, with the place of the setting to change.
TEST(Load, CrossRules) {
  EXPECT_THAT(only_error("server: {host: 0.0.0.0}"),
              HasSubstr("a.yaml:1:16: server.host: '0.0.0.0' is open to other machines"));
  EXPECT_TRUE(load(file("server: {host: 0.0.0.0}\nauth: {api_keys: k}")).ok());
  EXPECT_TRUE(load(file("server: {host: 127.0.0.9}")).ok());
  EXPECT_THAT(only_error("server: {host: 127.evil.example}"), HasSubstr("open to other machines"));
  EXPECT_THAT(only_error("server: {tls_cert: a.pem}"),
              HasSubstr("default: server.tls_key: tls_cert and tls_key belong together"));
  EXPECT_THAT(
      only_error("engine: {in_process_workers: true, distributed_executor_backend: mp}"),
      HasSubstr(
          "engine.in_process_workers: distributed_executor_backend mp is a process for each"));
  EXPECT_THAT(only_error("gpu: {multi_gpu: {strategies: [random]}}"),
              HasSubstr("least_loaded is not in gpu.multi_gpu.strategies"));
  EXPECT_THAT(only_error("gpu: {multi_gpu: {queue_priority_levels: [high, low]}}"),
              HasSubstr("normal is there 0 times"));
  EXPECT_THAT(only_error("gpu: {multi_gpu: {queue_priority_levels: {high: 0, normal: 0, low: 1}}}"),
              HasSubstr("high has the same rank 0"));
  EXPECT_THAT(only_error("gpu: {multi_gpu: {task_specific_mappings: {a: []}}}"),
              HasSubstr("no device is named"));
  EXPECT_THAT(only_error("deployments: [{name: a}]"),
              HasSubstr("deployments[0].model: the model is missing"));
  EXPECT_THAT(only_error("deployments: [{model: a}]"),
              HasSubstr("deployments[0].name: a name is missing"));
  EXPECT_THAT(only_error("deployments: [{name: a, model: m}, {name: a, model: m}]"),
              HasSubstr("the name 'a' is taken"));
  EXPECT_THAT(only_error("deployments: {a: {model: m, num_replicas: 1, autoscaling_config: {}}}"),
              HasSubstr("exclude each other"));
  EXPECT_THAT(
      only_error(
          "deployments: {a: {model: m, autoscaling_config: {min_replicas: 3, max_replicas: 2}}}"),
      HasSubstr("deployments[0].autoscaling_config.min_replicas: 3 is more than max_replicas, 2"));
  EXPECT_THAT(only_error("deployments: {a: {model: m, autoscaling_config: "
                         "{target_ongoing_requests: 1, target_num_ongoing_requests: 2}}}"),
              HasSubstr("this is the old name of target_ongoing_requests"));
  EXPECT_THAT(only_error("deployments: {a: {model: m, num_gpus: 1.5}}"), HasSubstr("whole number"));
  EXPECT_THAT(only_error("deployments: {a: {model: m, name: b}}"),
              HasSubstr("the map's key 'a' is the name already"));
  EXPECT_THAT(only_error("engine: {devices: 'cpu:0'}"),
              HasSubstr("engine.devices: in device 'cpu:0': the count '0'"));
  EXPECT_THAT(only_error("engine: {executor_depth: 2, speculative_tokens: 4}"),
              HasSubstr("engine.executor_depth: is 2, but speculative_tokens needs 1"));
  EXPECT_THAT(only_error("engine: {executor_depth: 2}\n"
                         "deployments: {a: {model: m, speculative_tokens: 4}}"),
              HasSubstr("engine.executor_depth: is 2, but speculative_tokens needs 1"));
  EXPECT_TRUE(load(file("engine: {executor_depth: 2, speculative_tokens: 4}\n"
                        "deployments: {a: {model: m, speculative_tokens: 0}}"))
                  .ok());
  EXPECT_TRUE(load(file("engine: {executor_depth: 1, speculative_tokens: 4}")).ok());
  EXPECT_THAT(only_error("store: {url: mysql}"), HasSubstr("write sqlite:PATH"));
  EXPECT_THAT(only_error("auth: {keys: [{name: a, key: k}, {name: b, key: k}]}"),
              HasSubstr("another holder has the same key"));
}

// Goal: a text that is hostile or broken is one clear error, soon. Method: bombs of aliases, depth,
// size, and non-YAML.
TEST(Load, HostileText) {
  EXPECT_THAT(only_error("server: {port: 1"), HasSubstr("not YAML"));
  EXPECT_THAT(only_error("\xff: 1"), HasSubstr("not UTF-8"));
  EXPECT_THAT(only_error("a: &a [*a]"), HasSubstr("contains it"));
  EXPECT_THAT(only_error("server: {port: 1, port: 2}"),
              HasSubstr("a.yaml:1:19: key 'port' is already on line 1"));
  EXPECT_THAT(only_error("? [a]\n: 1"), HasSubstr("a key must be text"));
  EXPECT_THAT(only_error("server: !!python/object {}"), HasSubstr("tags such as"));
  EXPECT_THAT(only_error("server: {}\n---\nserver: {}"), HasSubstr("several YAML documents"));
  EXPECT_THAT(only_error("[1, 2]"), HasSubstr("a list is not a map of settings"));
  EXPECT_THAT(only_error(std::string(kTextBytesMax + 1, ' ')),
              HasSubstr("at most 1048576 are read"));
  EXPECT_THAT(only_error("a: " + std::string(40, '[') + std::string(40, ']')),
              HasSubstr("deeper than 32"));
  EXPECT_THAT(only_error("a: " + std::string(10000, '[')), HasSubstr("a.yaml:1:"));
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    bomb += fmt::format("a{}: &a{} [*a{}, *a{}, *a{}, *a{}, *a{}, *a{}, *a{}, *a{}]\n", i, i, i - 1,
                        i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
  }
  EXPECT_THAT(only_error(bomb), HasSubstr("more than 100000 values"));
  std::string unknown;
  for (int i = 0; i < 5000; ++i) unknown += fmt::format("k{}: 1\n", i);
  EXPECT_EQ(load_report(file(unknown)).errors.size(), kProblemsMax);
}

// Goal: a file as Windows' editors save it loads, and UTF-16 is called that. Method: one setting in
// YAML and JSON, in several encodings.
TEST(Load, ByteOrderMarks) {
  for (const char* text :
       {"\xEF\xBB\xBFserver: {port: 81}", "\xEF\xBB\xBF{\"server\": {\"port\": 81}}",
        "\xEF\xBB\xBF# a comment\r\nserver:\r\n  port: 81\r\n"}) {
    const auto loaded = load(file(text));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(loaded->config.server.port, 81);
  }
  EXPECT_TRUE(load(file("\xEF\xBB\xBF")).ok());
  const std::string yaml = "server: {port: 81}";
  std::string little, big;
  for (const char c : yaml) {
    (little += c) += '\0';
    (big += '\0') += c;
  }
  EXPECT_THAT(only_error("\xFF\xFE" + little), HasSubstr("is UTF-16, little-endian"));
  EXPECT_THAT(only_error("\xFE\xFF" + big), HasSubstr("is UTF-16, big-endian"));
  EXPECT_THAT(only_error(little), HasSubstr("is UTF-16, little-endian"));
  EXPECT_THAT(only_error(big), HasSubstr("is UTF-16, big-endian"));
  EXPECT_TRUE(parse_json("\xEF\xBB\xBF{\"a\": 1}").ok());
  EXPECT_THAT(parse_json("\xFF\xFE{").error().message(), HasSubstr("UTF-16"));
}

// Goal: aliases in use work. Method: one mapping used twice.
TEST(Load, Aliases) {
  const auto loaded = load(file("models: {a: &m {path: x.gguf}, b: *m}"));
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_EQ(loaded->config.models.at(1).name, "b");
  EXPECT_EQ(loaded->config.models.at(1).path, "x.gguf");
}

// Goal: a setting that nothing reads yet is an error away from its default, at its place, and says
// what to do; at its default it is none. Method: one of each way to give a value.
TEST(Load, SettingsThatNothingReads) {
  const auto lines = [](const LoadInput& input) {
    std::vector<std::string> out;
    for (const Problem& problem : load_report(input).errors) out.push_back(to_string(problem));
    return out;
  };
  using Lines = std::vector<std::string>;
  const std::string what = "nothing reads it yet, so it would have no effect: ";
  EXPECT_EQ(lines(file("spot:\n  notice_s: 60\n")),
            Lines{"a.yaml:2:13: spot.notice_s: " + what + "remove it"});
  EXPECT_EQ(lines(file("deployments: [{name: a, model: m, weight: 2}]")),
            Lines{"a.yaml:1:43: deployments[0].weight: " + what + "remove it"});
  EXPECT_EQ(lines({.flags = {{"spot.notice_s", "60", "--spot-notice"}}}),
            Lines{"flag --spot-notice: spot.notice_s: " + what + "remove it"});
  EXPECT_EQ(lines({.environment = {{"ALTLAS_SPOT_NOTICE_FILE", "/a"}}}),
            Lines{"environment variable ALTLAS_SPOT_NOTICE_FILE: spot.notice_file: " + what +
                  "remove it"});
  EXPECT_EQ(lines({.presets = {{"p.yaml", "store: {checkpoint_interval_s: 9}"}}}),
            Lines{"p.yaml:1:32: store.checkpoint_interval_s: " + what + "remove it"});
  EXPECT_EQ(lines(file("deployments: [{name: a, model: m, weight: 1, expert_parallel_size: 1, "
                       "resources: {}}]\nspot: {notice_s: 120, pools: []}")),
            Lines{});
  std::vector<Problem> warnings;
  const auto over_http = parse_deployment("a", R"({"model": "m", "num_cpus": 2})", warnings);
  ASSERT_FALSE(over_http.ok());
  EXPECT_EQ(over_http.error().message(), "request: num_cpus: " + what + "remove it");
}

// Goal: the list of marks is the marks. Method: two that stand in a marked section or list, one
// that does not.
TEST(Load, ListOfMarks) {
  std::map<std::string, std::string_view> marks;
  for (const NotYet& one : not_yet_settings()) marks[one.path] = one.instead;
  EXPECT_EQ(marks.at("spot.enabled"), "remove it");
  EXPECT_EQ(marks.at("spot.pools[].devices"), "remove it");
  EXPECT_FALSE(marks.contains("deployments[].autoscaling_config.min_replicas"));
  EXPECT_FALSE(marks.contains("server.port"));
}

// Goal: every preset is valid, alone and under a file. Method: each file of presets/.
TEST(Load, Presets) {
  size_t count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(ALTLAS_SOURCE_DIR) + "/presets")) {
    const std::string name = "presets/" + entry.path().filename().string();
    const auto loaded =
        load({.presets = {{name, read(name)}}, .file = TextSource{"a.yaml", "server: {port: 1}"}});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_TRUE(loaded->warnings.empty()) << name;
    EXPECT_EQ(loaded->config.server.port, 1);
    ++count;
  }
  EXPECT_GE(count, 2u);
}

// Goal: what a dump shows loads again to the same configuration. Method: a file with lists, maps
// and optionals.
TEST(Load, DumpLoadsAgain) {
  const Loaded first = load_marked(
      "deployments: [{name: a, model: m, num_gpus: 0.5, autoscaling_config: "
      "{max_replicas: 3}, user_config: {x: [1]}},\n"
      "  {name: b, model: 'n: #'}]\n"
      "gpu: {multi_gpu: {task_specific_mappings: {t: [gpu_0, 1]}}}\nspot: {pools: {p: "
      "{spot: true, max_price: 4.50}}}");
  const Loaded second = load_marked(dump(first));
  for (const Change& change : changes(first.config, second.config)) ADD_FAILURE() << change.path;
  EXPECT_EQ(second.config.deployments.at(1).model, "n: #");
}

// Goal: a reload takes what it may and names the rest. Method: two changes, one of each kind.
TEST(Load, Reload) {
  const Config old_config = load(file("server: {port: 1}"))->config;
  const Config new_config = load(file("server: {port: 2}\ngpu: {max_temperature: 70}"))->config;
  const auto list = changes(old_config, new_config);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].path, "gpu.max_temperature");
  EXPECT_TRUE(list[0].reload);
  EXPECT_EQ(list[1].path, "server.port");
  EXPECT_FALSE(list[1].reload);
  const Config merged = reloaded(old_config, new_config);
  EXPECT_EQ(merged.server.port, 1);
  EXPECT_EQ(merged.gpu.max_temperature, 70);
}

// Goal: a deployment over HTTP is read by the same rules. Method: good, wrong and hostile bodies.
TEST(Load, DeploymentFromJson) {
  std::vector<Problem> warnings;
  const auto good = parse_deployment(
      "llm",
      R"({"model": "m", "num_replicas": 2, "autoscaling_config": null, "dtype": "bfloat16"})",
      warnings);
  ASSERT_TRUE(good.ok()) << good.error().message();
  EXPECT_EQ(good->name, "llm");
  EXPECT_EQ(good->num_replicas, 2);
  EXPECT_EQ(good->dtype, WeightType::kBf16);
  EXPECT_EQ(engine_for(EngineConfig{}, *good).dtype, WeightType::kBf16);
  const auto wrong =
      parse_deployment("llm", R"({"modell": "m", "num_replicas": "many"})", warnings);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message(), HasSubstr("modell: unknown key (did you mean model?)"));
  EXPECT_THAT(wrong.error().message(), HasSubstr("num_replicas: 'many' is not a whole number"));
  EXPECT_THAT(wrong.error().message(), HasSubstr("model: the model is missing"));
  EXPECT_FALSE(parse_deployment("llm", "{", warnings).ok());
  EXPECT_FALSE(parse_deployment("llm", std::string(100000, '['), warnings).ok());
  EXPECT_FALSE(parse_deployment("llm", "\"\xff\"", warnings).ok());
  EXPECT_FALSE(parse_deployment("llm", R"({"name": "other", "model": "m"})", warnings).ok());
}

// Goal: a keys file as people write it. Method: comments, spaces, Windows line ends, no last line
// end.
TEST(Load, KeysFile) {
  EXPECT_EQ(parse_keys_file("# keys\nabc\r\n\n  def  \n#x\nghi"),
            (std::vector<std::string>{"abc", "def", "ghi"}));
  EXPECT_TRUE(parse_keys_file("").empty());
}

}  // namespace
}  // namespace altlas::config
