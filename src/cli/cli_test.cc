// Tests of what commands print and read, apart from a server and a model; tests/test_cli.py runs
// the program.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cmath>

#include "cli/bandwidth.h"
#include "cli/local_engine.h"
#include "cli/perplexity_text.h"
#include "cli/setup.h"
#include "cli/status_text.h"
#include "cli/terminal.h"

namespace altlas::cli {
namespace {

namespace json = boost::json;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

// Goal: columns begin at the same character in every row, also with multi-byte cells. Method: where
// the second column is.
TEST(Table, LinesUp) {
  Table table({"NAME", "X"});
  table.add({"short", "1"});
  table.add({"größer als", "2"});
  const auto lines = lines_of(table.text());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "NAME        X");
  EXPECT_EQ(lines[1], "short       1");
  EXPECT_EQ(lines[2], "größer als  2");
}

// Goal: nothing that a server or user says can steer the terminal or fill it. Method: escapes, C1
// controls, a long text.
TEST(Table, CellsArePrintable) {
  EXPECT_EQ(printable("a\033[2J\nb\x7F"), "a?[2J?b?");
  EXPECT_EQ(printable("x\xC2\x9B"
                      "31m"),
            "x?31m");
  EXPECT_EQ(printable("größe", 3), "grö...");
  Table table({"A"});
  table.add({"evil\033]0;title\a"});
  EXPECT_EQ(table.text().find('\033'), std::string::npos);
}

// Goal: a progress line never breaks in a narrow terminal and fills a wide one. Method: how many
// characters it has for every width, and what is left of it.
TEST(Progress, FitsTheTerminal) {
  const auto line = [](size_t columns) {
    return progress_line("bench", "größer", 0.5, "1 MiB / 2 MiB", columns);
  };
  const auto characters = [](std::string_view text) {
    return std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; });
  };
  for (size_t columns = 1; columns < 120; ++columns)
    EXPECT_LT(characters(line(columns)), static_cast<std::ptrdiff_t>(columns)) << line(columns);
  EXPECT_EQ(line(47), "bench  größer  █████░░░░░  50 %  1 MiB / 2 MiB");
  EXPECT_EQ(line(36), "bench  größer   50 %  1 MiB / 2 MiB");
  EXPECT_EQ(line(12), "bench  größ");
  EXPECT_EQ(line(100), line(500));
}

json::object object(std::string_view text) {
  return json::parse(json::string_view(text.data(), text.size())).as_object();
}

// Goal: every device, deployment, replica and task has its row, in the API's own words. Method:
// answers as the server gives them.
TEST(Status, ShowsWhatTheServerSays) {
  const json::object health = object(R"({"status": "ok", "model": "qwen"})");
  const json::object gpus = object(
      R"({"gpus": [{"id": 0, "name": "AMD", "kind": "cpu", "utilization": 41.6, "memory_used": 1073741824,
      "memory_total": 2147483648, "task_count": 3, "queued_count": 1, "temperature": null, "power": 65.2, "healthy": true,
      "deployments": ["default", "echo"]}]})");
  const json::object deployments =
      object(R"({"deployments": {"default": {"status": "UPDATING", "message": "", "model": "qwen",
      "replica_states": {"LOADING": 1}, "replicas": [{"replica_id": 7, "state": "loading", "devices": [0, 1], "pid": 99, "restarts": 2,
      "message": "", "running": 0, "max_sequences": 0, "kv_tokens": 0, "kv_tokens_free": 0, "simd": "",
      "loading": {"phase": "weights", "fraction": 0.25}}]}}})");
  const json::object tasks = object(
      R"({"tasks": {"00ff": {"task_id": "00ff", "status": "failed", "gpu_id": 0, "type": "text_generation",
      "created_at": "2026-01-31T12:00:00Z", "error": "deadline"}}, "total": 12})");
  const std::string text = status_text({health, gpus, deployments, tasks});
  for (const char* want :
       {"ok, model qwen", "42 %", "1.00 GiB", "2.00 GiB", "65 W", "default, echo", "UPDATING",
        "loading 25 %", "0, 1", "1 of 12 tasks", "00ff", "deadline"})
    EXPECT_NE(text.find(want), std::string::npos) << want << "\n" << text;
}

// Goal: a template that can't be used is told where people look, beside what the deployment says.
TEST(Status, ShowsTemplatesThatCantBeUsed) {
  const auto shown = [](std::string_view deployment) {
    const std::string all = fmt::format(R"({{"deployments": {{"a": {}}}}})", deployment);
    return status_text({{}, {}, object(all), {}});
  };
  const std::string want = "its chat template can't be used: line 3: why";
  EXPECT_TRUE(shown(R"({"message": "", "chat_template_error": "line 3: why"})").contains(want));
  EXPECT_TRUE(shown(R"({"message": "late", "chat_template_error": "line 3: why"})")
                  .contains("late; " + want));
  for (const char* none : {R"({"message": "late"})", R"({"chat_template_error": null})",
                           R"({"chat_template_error": {"a": 1}})"})
    EXPECT_FALSE(shown(none).contains("template")) << none;
}

// Goal: an answer of another shape shows "-", it does not end the program. Method: wrong types
// everywhere.
TEST(Status, SurvivesStrangeAnswers) {
  const json::object strange = object(
      R"({"gpus": [1, {"id": {}, "memory_used": "x", "utilization": [], "memory_total": -5}], "tasks": [],
      "deployments": {"a": 3, "b": {"replicas": [{"loading": {"fraction": "x"}, "devices": 4}]}}, "total": {}, "status": 4})");
  const std::string text = status_text({strange, strange, strange, strange});
  EXPECT_NE(text.find("DEVICE"), std::string::npos);
  EXPECT_EQ(status_text({{}, {}, {}, {}}).substr(0, 10), "-, model -");
}

// Goal: only lists of ids of the vocabulary are taken, and the message names the element. Method:
// one fault each.
TEST(Perplexity, Ids) {
  const auto ids = parse_ids("[0, 5, 9]", 10);
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, (std::vector<int32_t>{0, 5, 9}));
  for (const char* text :
       {"", "{}", "[1, 10]", "[1, -1]", "[1, 2.0]", "[1, \"2\"]", "[1", "[18446744073709551615]"}) {
    const auto refused = parse_ids(text, 10);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalid) << text;
  }
  EXPECT_NE(parse_ids("[1, 10]", 10).error().message().find("element 1 is 10"), std::string::npos);
}

// Goal: the JSON has its four fields, its numbers read back the same, nll is the mean. Method:
// parse what is printed.
TEST(Perplexity, Json) {
  const std::vector<TokenLogprobs> logprobs = {
      {.id = 8, .logprob = -0.1f, .top = {{8, -0.1f}}},
      {.id = 9, .logprob = -2.7182817f, .top = {{3, -0.2f}}}};
  const auto perplexity = make_perplexity_of({7, 8, 9}, logprobs);
  ASSERT_TRUE(perplexity.ok());
  const json::object read = object(to_json(*perplexity));
  ASSERT_EQ(read.size(), 4u);
  EXPECT_EQ(json::serialize(read.at("ids")), "[7,8,9]");
  EXPECT_EQ(json::serialize(read.at("top1")), "[8,3]");
  EXPECT_EQ(static_cast<float>(read.at("logprobs").as_array()[1].to_number<double>()), -2.7182817f);
  EXPECT_DOUBLE_EQ(read.at("nll").to_number<double>(), perplexity->nll);
  EXPECT_NEAR(perplexity->nll, (0.1 + 2.7182817) / 2, 1e-6);
}

// Goal: an engine's answer that does not fit the ids is an error, never a wrong figure. Method: one
// fault each.
TEST(Perplexity, RefusesMisfits) {
  const TokenLogprobs good{.id = 8, .logprob = -1, .top = {{8, -1.0f}}};
  EXPECT_TRUE(make_perplexity_of({7, 8}, std::vector{good}).ok());
  EXPECT_FALSE(make_perplexity_of({7, 8, 9}, std::vector{good}).ok());
  EXPECT_FALSE(make_perplexity_of({7, 9}, std::vector{good}).ok());
  EXPECT_FALSE(
      make_perplexity_of({7, 8}, std::vector{TokenLogprobs{.id = 8, .logprob = -1, .top = {}}})
          .ok());
  EXPECT_FALSE(make_perplexity_of({7, 8}, std::vector{TokenLogprobs{
                                              .id = 8, .logprob = -INFINITY, .top = {{8, 0.0f}}}})
                   .ok());
}

// Goal: the ranks of a local replica are the first devices, and too few are named. Method: two cpu
// devices.
TEST(LocalEngine, Layout) {
  config::Config config;
  config.engine.devices = "cpu:2:1:1GiB";
  config.engine.tensor_parallel_size = 2;
  const auto devices = make_devices(config);
  ASSERT_TRUE(devices.ok()) << devices.error().message();
  const auto load = make_load(config.engine, *devices);
  ASSERT_TRUE(load.ok());
  ASSERT_EQ(load->ranks.size(), 2u);
  for (uint32_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(load->ranks[rank].device_id, rank);
    EXPECT_EQ(load->ranks[rank].device_spec, "cpu:1:1:1073741824");
  }
  EXPECT_EQ(load->own_ranks(), (std::vector<uint32_t>{0, 1}));
  config.engine.pipeline_parallel_size = 2;
  const auto refused = make_load(config.engine, *devices);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("needs 4 devices, there are 2"), std::string::npos)
      << refused.error().message();
  config.engine.devices = "sim:h101";
  EXPECT_EQ(make_devices(config).error().code(), ErrorCode::kNotFound);
}

// Goal: threads that could only wait for each other are named with the CPUs there are.
TEST(Setup, MoreThreadsThanCpusAreWarnedOf) {
  const device::MachineFacts machine{.cores = 2, .memory_total = uint64_t{4} << 30};
  const auto notice = [&](const char* spec) {
    const auto devices = device::parse_device_spec(spec, machine);
    return devices.ok() ? threads_notice(*devices, machine.cores) : devices.error().message();
  };
  EXPECT_EQ(notice("cpu:1:99"),
            "--devices: 99 threads of a cpu device share 2 CPUs and wait for each other, which is "
            "much slower than cpu:1:2");
  for (const char* fine : {"cpu", "cpu:1:2", "cpu:4", "cpu:2:1", "sim:h100:8"})
    EXPECT_EQ(notice(fine), "") << fine;
}

// Goal: rates are what the times say, and no time is no rate. Method: round figures.
TEST(LocalEngine, SpeedLine) {
  LocalAnswer answer;
  answer.prompt_tokens = 100;
  answer.prefill_us = 500'000;
  answer.ids.assign(11, 1);
  answer.decode_us = 2'000'000;
  answer.result.finish_reason = FinishReason::kLength;
  EXPECT_EQ(speed_line(answer, 7),
            "prompt 100 tokens in 0.50 s (200.0 tokens/s), answer 11 tokens, 2.00 s after the "
            "first (5.0 tokens/s), length, seed 7");
  EXPECT_NE(speed_line(LocalAnswer{}, 1).find("(0.0 tokens/s)"), std::string::npos);
}

// Goal: the measurement ends in time and gives a rate for every number of threads. Method: a small
// buffer.
TEST(Bandwidth, MeasuresEveryThreadCount) {
  const auto figures = measure_read_bandwidth(4 << 20, 0.02, 3);
  ASSERT_EQ(figures.size(), 3u);
  EXPECT_EQ(figures[0].threads, 1u);
  EXPECT_EQ(figures[1].threads, 2u);
  EXPECT_EQ(figures[2].threads, 3u);
  for (const Bandwidth& one : figures) EXPECT_GT(one.bytes_per_s, 1e6);
}

// Goal: unreadable files are one clear error. Method: none, a folder, one over the limit.
TEST(Setup, TextFiles) {
  EXPECT_EQ(read_text_file("/nowhere/x", "--file", 10).error().code(), ErrorCode::kNotFound);
  EXPECT_EQ(read_text_file("/tmp", "--file", 10).error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(read_text_file("/proc/self/maps", "--file", 10).error().code(), ErrorCode::kTooLarge);
  const auto whole = read_text_file(ALTLAS_SOURCE_DIR "/src/cli/cli_test.cc", "--file", 1 << 20);
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->substr(0, 8), "// Tests");
}

}  // namespace
}  // namespace altlas::cli
