// altlas serve: builds the server from the rooms and runs it until it is told to stop.
#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio.hpp>
#include <cerrno>
#include <cstring>
#include <future>
#include <thread>

#include "base/log.h"
#include "base/private_file.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/device_sampler.h"
#include "cli/live_settings.h"
#include "cli/missing.h"
#include "cli/model_checks.h"
#include "cli/setup.h"
#include "cli/terminal.h"
#include "config/device_spec.h"
#include "config/validate.h"
#include "cli/joining.h"
#include "control/service.h"
#include "control/setup.h"
#include "engine/load.h"
#include "journal/sqlite_store.h"
#include "ops/simd.h"
#include "hardware/device_kinds.h"
#include "server/batches/batch_runner.h"
#include "server/batches/file_desk.h"
#include "server/connection/listener.h"
#include "server/metrics.h"
#include "telemetry/process.h"
#include "telemetry/registry.h"
#include "telemetry/trace.h"

namespace altlas::cli {
namespace {

namespace asio = boost::asio;
using asio::awaitable;

constexpr size_t kPromptsWaitingMax = 4096;
constexpr auto kLoadPoll = std::chrono::milliseconds(2);

// The event loops. Objects of each wait for objects of the others, so none can be destroyed before
// the rest: they are never destroyed, and end with the process.
struct Contexts {
  asio::io_context io;          // Connections: server.io_threads.
  asio::io_context control{1};  // The control core: one thread.
  // The workers' links: one thread, so that neither waits for the other's large messages.
  asio::io_context links{1};
  asio::io_context large{1};  // Handlers of large bodies: one thread.
};

Contexts& lasting_contexts() {
  static auto* const contexts = new Contexts;
  return *contexts;
}

// Everything a running server owns. Members are destroyed last to first.
struct Serving {
  config::Config config;                      // As at the start.
  server::LiveConfig live{config::Config()};  // As SIGHUP has left it.
  // Whether to open a journal that lost events.
  bool accept_loss = false;
  telemetry::Registry metrics;
  std::unique_ptr<telemetry::Tracer> tracer;  // Null: monitoring.enabled is off.
  std::vector<control::DeviceSetup> devices;
  std::atomic<bool> cpu_yields = false;  // See make_device_sampler().
  std::string notice;                    // Names the GPUs that are not used.
  std::string model_key;                 // The default model's name in `models` and `deployments`.
  std::string model_name;                // The default model's id in the APIs.
  std::string model_path;
  std::vector<control::DeploymentSetup> deployments;
  asio::thread_pool metrics_thread{1};
  Contexts& contexts = lasting_contexts();
  std::unique_ptr<control::Nodes> nodes;  // Null: cluster.enabled is off.
  std::unique_ptr<control::Service> service;
  std::unique_ptr<server::TextPool> prompts;
  std::unique_ptr<server::FileDesk> desk;
  std::optional<server::Auth> auth;
  std::optional<server::Services> services;
  std::optional<server::BatchRunner> batches;
  std::optional<server::Server> server;
  std::vector<std::thread> threads;
  // Why loading failed; it is said once the terminal's loading screen has ended.
  std::optional<Error> load_error;
};

size_t thread_count(int64_t configured, size_t most) {
  if (configured > 0) return static_cast<size_t>(configured);
  return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, most);
}

// Checks, before anything is accepted, that the model fits its devices; the error has the numbers.
Result<void> check_fit(const Serving& serving) {
  for (const control::DeviceSetup& device : serving.devices) {
    if (device.kind != "cpu") continue;
    model::LoadOptions options =
        engine::load_options(control::load_of(serving.config.engine), /*device=*/0);
    options.model_path = serving.model_path;
    options.shard = {};
    ALTLAS_TRY(const config::DeviceList spec, config::parse_device_list(device.spec));
    const auto threads = static_cast<uint32_t>(spec.parts.front().threads);
    const auto shape = model::load_shape(options, device.memory_total, threads);
    if (!shape.ok())
      return Error(shape.error()).with_context(fmt::format("device {}", device.id.value));
  }
  return {};
}

// Opens the journal where store.url says, else in the data directory.
Result<std::unique_ptr<journal::Store>> open_store(const std::string& folder,
                                                   const std::string& url, bool accept_loss) {
  constexpr std::string_view kFile = "sqlite:";
  if (!folder.empty()) ALTLAS_TRY_VOID(make_private_folder(folder, "--data-dir"));
  if (url == "memory" || (url.empty() && folder.empty())) return journal::open_memory_store();
  const bool named = url.starts_with(kFile);
  journal::SqliteOptions options;
  options.path = named ? url.substr(kFile.size()) : folder + "/journal.db";
  options.accept_loss = accept_loss;
  auto store = journal::open_sqlite_store(options);
  if (!store.ok())
    return Error(store.error())
        .with_context(named ? std::string("store.url")
                            : fmt::format("data directory '{}'", folder));
  return store;
}

// Waits until every replica runs, or says why one can't. Progress goes to standard error.
awaitable<Result<std::vector<control::DeploymentView>>> wait_loaded(control::Service& service) {
  ProgressBar bar("loading");
  asio::steady_timer timer(co_await asio::this_coro::executor);
  while (true) {
    auto deployments = co_await service.deployments();
    size_t all = 0, running = 0;
    double fraction = 0;
    for (const auto& deployment : deployments) {
      for (const auto& replica : deployment.replicas) {
        if (replica.state == control::ReplicaState::kBackoff ||
            replica.state == control::ReplicaState::kStopped) {
          bar.finish();
          co_return Error(replica.error_code,
                          fmt::format("deployment {}: {}", deployment.name, replica.message));
        }
        ++all;
        running += replica.state == control::ReplicaState::kRunning;
        fraction += replica.state == control::ReplicaState::kRunning ? 1 : replica.load_fraction;
      }
    }
    if (running == all) {
      bar.finish();
      co_return deployments;
    }
    bar.update_fraction("weights", fraction / static_cast<double>(std::max<size_t>(all, 1)));
    timer.expires_after(kLoadPoll);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

void print_banner(const Serving& serving, const std::vector<control::DeploymentView>& deployments) {
  std::string text = fmt::format("listening on {}\n", serving.server->url());
  std::string devices;
  for (const auto& device : serving.devices)
    devices += fmt::format("{}{}: {}, {}", devices.empty() ? "" : "; ", device.id.value,
                           device.name, format_bytes(device.memory_total));
  text += fmt::format("model {}\ndevices {}\n", serving.model_name, devices);
  uint64_t kv_tokens = 0, sequences = 0;
  std::string simd;
  for (const auto& deployment : deployments) {
    for (const auto& replica : deployment.replicas) {
      kv_tokens += uint64_t{replica.kv_blocks} * replica.block_tokens;
      if (!deployment.model.empty()) sequences += replica.sequences_max;
      if (!replica.simd.empty()) simd = replica.simd;
    }
  }
  if (!simd.empty()) text += fmt::format("simd {}\n", simd);
  text += fmt::format("kv tokens {}\nsequences at most {}\n", kv_tokens, sequences);
  // Whoever started the server may have stopped reading, or may have left.
  if (::write(STDOUT_FILENO, text.data(), text.size()) < 0)
    log::warn("standard output can't be written ({}): listening on {}", std::strerror(errno),
              serving.server->url());
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// Returns the model of the first deployment that has one, or "".
std::string first_model(const config::Config& config) {
  for (const config::DeploymentConfig& one : config.deployments)
    if (one.name != "echo" && !one.model.empty()) return one.model;
  return "";
}

// Returns the path that `models` gives for a model's name, or the name itself.
std::string path_of_model(const config::Config& config, const std::string& name) {
  for (const config::ModelConfig& one : config.models)
    if (one.name == name && !one.path.empty()) return one.path;
  return name;
}

// Checks what the configuration says of devices against those that are there.
Result<void> check_devices(const Serving& serving) {
  for (const config::Finding& finding :
       config::validate_devices(serving.config, static_cast<int64_t>(serving.devices.size()))) {
    if (!finding.warning) return invalid(finding.path + ": " + finding.what, finding.path);
    fmt::print(stderr, "altlas: warning: {}: {}\n", finding.path, finding.what);
  }
  return {};
}

// Waits for the other machines, whose devices then follow this one's.
Result<void> join_nodes(Serving& serving) {
  if (!serving.config.cluster.enabled) return {};
  ALTLAS_TRY(serving.nodes, listen_for_nodes(serving.config.cluster, serving.contexts.links));
  ALTLAS_TRY_VOID(wait_for_nodes(serving.config.cluster, *serving.nodes, serving.devices));
  ALTLAS_TRY_VOID(check_devices(serving));
  return check_fit(serving);
}

Result<void> build(const SettingFlags& flags, Serving& out) {
  ALTLAS_TRY(config::Loaded loaded, load_config(flags));
  out.cpu_yields = loaded.origins.contains("gpu.utilization_threshold");
  out.config = std::move(loaded.config);
  ALTLAS_TRY(const log::Level level, log::parse_level(out.config.monitoring.log_level));
  log::set_level(level);
  ALTLAS_TRY_VOID(apply_simd(out.config));
  warn_of_simd();
  if (const auto missing = missing_here(out.config); !missing.empty()) {
    for (const config::Finding& one : missing)
      fmt::print(stderr, "altlas: {}: {}\n", one.path, one.what);
    return invalid("");
  }
  if (out.notice = unused_gpus(out.config); !out.notice.empty()) log::warn("{}", out.notice);
  ALTLAS_TRY(out.devices, make_devices(out.config));
  // With other machines the devices are known once those have come.
  if (!out.config.cluster.enabled) ALTLAS_TRY_VOID(check_devices(out));
  ALTLAS_TRY(out.auth, server::Auth::create(out.config.auth));
  ALTLAS_TRY_VOID(check_bind(out.config, *out.auth));
  out.live.set(out.config);
  ALTLAS_TRY_VOID(server::check_metrics_path(out.config.monitoring));
  const std::string model = flags.model.empty() ? first_model(out.config) : flags.model;
  ALTLAS_TRY(out.model_path, model_file(path_of_model(out.config, model)));
  out.model_key = model;
  out.model_name = !flags.served_model_name.empty() ? flags.served_model_name
                   : !model.empty()                 ? model
                                                    : std::string(weights::kDefaultModel);
  return check_fit(out);
}

const config::DeploymentConfig* find_deployment(const config::Config& config,
                                                const std::string& name) {
  const auto found = std::ranges::find(config.deployments, name, &config::DeploymentConfig::name);
  return found == config.deployments.end() ? nullptr : &*found;
}

// Returns what the section `models` says of a deployment's model, or null.
const config::ModelConfig* model_of(const Serving& serving, const std::string& deployment) {
  const config::DeploymentConfig* one = find_deployment(serving.config, deployment);
  return find_model(serving.config,
                    one == nullptr || one->model.empty() ? serving.model_key : one->model);
}

// Checks that the model's files are what the configuration says they are.
Result<void> check_files(const Serving& serving, const control::DeploymentSetup& one) {
  if (const config::ModelConfig* model = model_of(serving, one.name); model != nullptr) {
    ALTLAS_TRY_VOID(check_sha256(*model, one.load.model_path));
  }
  const config::DeploymentConfig* own = find_deployment(serving.config, one.name);
  const config::EngineConfig engine =
      own == nullptr ? serving.config.engine : config::engine_for(serving.config.engine, *own);
  return check_dtype(engine.dtype, one.load.model_path);
}

// Finds the files of the deployments' models, and fetches those that are missing.
Result<void> find_files(const Serving& serving,
                        std::vector<control::DeploymentSetup>& deployments) {
  for (control::DeploymentSetup& one : deployments) {
    one.load.repack_folder = repack_folder(serving.config.engine);
    if (one.model.empty()) continue;
    if (one.load.model_path != serving.model_path) {
      ALTLAS_TRY(one.load.model_path, model_file(one.load.model_path));
    }
    ALTLAS_TRY_VOID(check_files(serving, one));
    if (one.load.draft_model_path.empty()) continue;
    ALTLAS_TRY(one.load.draft_model_path, model_file(one.load.draft_model_path));
  }
  return {};
}

// Returns the deployments' models as the APIs show them.
Result<std::vector<server::ServedModel>> served_models(
    const Serving& serving, const std::vector<control::DeploymentSetup>& deployments) {
  std::vector<server::ServedModel> models;
  for (const control::DeploymentSetup& one : deployments) {
    if (one.model.empty()) continue;
    ALTLAS_TRY(const ParsedModelText text,
               load_model_text(one.load.model_path, model_of(serving, one.name)));
    server::ServedModel served;
    served.id = one.model;
    served.deployment = one.name;
    served.tokenizer = text.tokenizer;
    served.chat_template = text.chat_template;
    served.chat_template_error = text.chat_template_error;
    served.part_roles = text.part_roles;
    served.call_id_size = text.call_id_size;
    served.tool_format =
        text::tool_format_of(serving.config.engine.tool_call_parser, text.tool_format);
    served.reasoning = text.reasoning;
    served.task_types = one.task_types;
    models.push_back(served);
    served.task_types.clear();
    served.parent = one.model;
    for (const engine::AdapterFile& adapter : one.load.adapters) {
      served.id = served.adapter = adapter.name;
      models.push_back(served);
    }
  }
  for (size_t i = 0; i < models.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (models[i].id == models[j].id && !(models[i].adapter.empty() && models[j].adapter.empty()))
        return invalid(fmt::format("lora_modules: '{}' is the name of two models", models[i].id));
  return models;
}

// Starts the service, whose replicas then begin to load.
Result<void> start_service(Serving& out) {
  control::ServiceOptions options;
  options.folder = state_folder(out.config);
  ALTLAS_TRY(options.store, open_store(options.folder, out.config.store.url, out.accept_loss));
  control::ModelSetup model;
  model.id = out.model_name;
  model.name = out.model_key;
  model.path = out.model_path;
  ALTLAS_TRY(options.setup, control::make_core_setup(out.config, out.devices, model));
  ALTLAS_TRY_VOID(find_files(out, options.setup.deployments));
  out.deployments = options.setup.deployments;
  options.nodes = out.nodes.get();
  options.in_process_workers = out.config.engine.in_process_workers;
  options.event_log_bytes_max = static_cast<uint64_t>(out.config.store.event_log_bytes_max);
  options.stream_buffer_bytes_max =
      static_cast<uint64_t>(out.config.server.stream_buffer_bytes_max);
  for (const control::DeviceSetup& device : out.devices) {
    const auto kind = device.kind == "sim" ? device_kind(device.name) : DeviceKindInfo();
    options.device_prices.push_back(kind.ok() ? kind->price_usd_per_hour : 0);
  }
  const config::MonitoringConfig& monitoring = out.config.monitoring;
  if (monitoring.enabled) {
    out.tracer =
        std::make_unique<telemetry::Tracer>(static_cast<size_t>(monitoring.trace_spans_max));
    options.metrics = &out.metrics;
    options.tracer = out.tracer.get();
    options.sample = make_device_sampler(out.devices, out.cpu_yields, &out.metrics);
    options.sample_interval_us = from_seconds(monitoring.interval);
    show_metrics(monitoring, out.metrics);
    telemetry::add_process_metrics(out.metrics);
  }
  options.links = &out.contexts.links;
  ALTLAS_TRY(out.service, control::make_service(out.contexts.control, std::move(options)));
  return out.service->start();
}

// Makes the parts that answer requests, while the replicas load.
Result<void> make_server(Serving& out) {
  ALTLAS_TRY(auto models, served_models(out, out.deployments));
  ALTLAS_TRY(out.desk, server::FileDesk::open(state_folder(out.config), out.config.server));
  out.prompts = std::make_unique<server::TextPool>(thread_count(out.config.server.text_threads, 2),
                                                   kPromptsWaitingMax, std::move(models));
  out.services.emplace(server::Services{.config = out.config,
                                        .live = out.live,
                                        .service = *out.service,
                                        .prompts = *out.prompts,
                                        .metrics = out.metrics,
                                        .version = ALTLAS_VERSION,
                                        .started = system_clock().now(),
                                        .notice = out.notice,
                                        .tracer = out.tracer.get(),
                                        .auth = &*out.auth,
                                        .large = out.contexts.large.get_executor()});
  out.batches.emplace(out.contexts.io, *out.desk, *out.services);
  out.services->desk = out.desk.get();
  out.services->request_memory = std::make_shared<server::RequestMemory>(
      server::request_bytes_max(out.config.server.request_bytes_max,
                                static_cast<int64_t>(device::probe_machine().memory_total)));
  asio::co_spawn(out.metrics_thread, server::trim_memory(out.services->request_memory),
                 asio::detached);
  out.services->batches = &*out.batches;
  out.services->metrics_text = [&out]() -> awaitable<std::string> {
    const auto write = [&out]() -> awaitable<std::string> {
      co_return out.metrics.write_prometheus();
    };
    co_return co_await asio::co_spawn(out.metrics_thread, write(), asio::use_awaitable);
  };
  out.services->trace_text = [&out](double seconds) -> awaitable<std::string> {
    const auto write = [&out, seconds]() -> awaitable<std::string> {
      const TimeUs now = system_clock().now();
      co_return out.tracer->write_chrome_trace(
          now - static_cast<TimeUs>(seconds * static_cast<double>(kSecond)), now);
    };
    co_return co_await asio::co_spawn(out.metrics_thread, write(), asio::use_awaitable);
  };
  out.server.emplace(out.contexts.io, *out.services, *out.auth);
  return out.server->listen();
}

awaitable<void> reload(const SettingFlags& flags, Serving& serving) {
  const auto loaded = load_config(flags);
  auto plan = loaded.ok() ? plan_reload(*serving.live.get(), loaded->config, serving.devices.size())
                          : Result<Reload>(loaded.error());
  if (!plan.ok()) {
    log::error("SIGHUP: the new configuration is not taken, the old one goes on{}{}",
               plan.error().message().empty() ? "" : ": ", plan.error().message());
    co_return;
  }
  const config::Config old = *serving.live.get();
  const config::MultiGpuConfig& gpu = plan->config.gpu.multi_gpu;
  // Keys come first: a revoked key must not be answered while the rest is under way.
  const bool keys = serving.auth->take(plan->auth);
  serving.live.set(plan->config);
  Result<void> taken = co_await serving.service->set_limits(plan->limits);
  if (taken.ok() && gpu.default_strategy != old.gpu.multi_gpu.default_strategy)
    taken = co_await serving.service->set_strategy(gpu.default_strategy);
  if (taken.ok() &&
      gpu.max_concurrent_tasks_per_gpu != old.gpu.multi_gpu.max_concurrent_tasks_per_gpu)
    taken = co_await serving.service->set_max_concurrent_tasks(
        static_cast<uint32_t>(gpu.max_concurrent_tasks_per_gpu));
  if (!taken.ok()) log::error("SIGHUP: limits of the queue: {}", taken.error().message());
  serving.cpu_yields = loaded->origins.contains("gpu.utilization_threshold");
  const config::MonitoringConfig& monitoring = plan->config.monitoring;
  serving.service->set_sample_interval(from_seconds(monitoring.interval));
  show_metrics(monitoring, serving.metrics);
  if (const auto tls = serving.server->reload_tls(); !tls.ok())
    log::error("SIGHUP: {}", tls.error().message());
  // The report of the reload is logged at the more talkative of the old and the new level.
  const auto before = log::parse_level(old.monitoring.log_level);
  log::set_level(before.ok() ? std::min(*before, plan->level) : plan->level);
  log_reload(*plan, keys);
  log::set_level(plan->level);
}

awaitable<void> open_door(Serving& serving, std::promise<void>& ended);

// Sets `ended` at the first SIGTERM or SIGINT; a second one ends the process at once.
awaitable<void> watch_signals(const SettingFlags& flags, Serving& serving,
                              std::promise<void>& ended) {
  asio::signal_set signals(co_await asio::this_coro::executor, SIGTERM, SIGINT, SIGHUP);
  // Whoever reads the banner may stop the server at once, so signals are watched before it is
  // printed.
  asio::co_spawn(serving.contexts.io, open_door(serving, ended), asio::detached);
  for (int stops = 0;;) {
    const int signal = co_await signals.async_wait(asio::use_awaitable);
    if (signal == SIGHUP) {
      co_await reload(flags, serving);
    } else if (++stops == 1) {
      log::info("stopping: no new tasks, up to {} s for those that run",
                serving.live.get()->server.graceful_shutdown_timeout_s);
      ended.set_value();
    } else {
      _exit(kExitFailed);
    }
  }
}

// Tells the prompts what a deployment's replicas have found, or would find.
Result<void> set_loaded(Serving& serving, const control::DeploymentView& deployment) {
  std::vector<replica::ReplicaLimits> found(deployment.replicas.begin(), deployment.replicas.end());
  const auto setup =
      std::ranges::find(serving.deployments, deployment.name, &control::DeploymentSetup::name);
  if (found.empty() && setup != serving.deployments.end() && !setup->model.empty() &&
      !setup->replicas.empty()) {
    ALTLAS_TRY(found.emplace_back(), planned_limits(*setup, serving.devices));
  }
  if (found.empty()) return {};
  uint32_t length = UINT32_MAX;
  for (const replica::ReplicaLimits& one : found) length = std::min(length, one.model_len_max);
  serving.prompts->set_loaded(deployment.name, length, found.back().embedding_size,
                              found.back().generates);
  return {};
}

// Waits for the replicas, prints the banner, opens the door.
awaitable<void> open_door(Serving& serving, std::promise<void>& ended) {
  auto deployments = co_await wait_loaded(*serving.service);
  if (!deployments.ok()) {
    serving.load_error = deployments.error();
    ended.set_value();
    co_return;
  }
  for (const auto& deployment : *deployments) {
    if (const auto set = set_loaded(serving, deployment); !set.ok()) {
      serving.load_error = set.error();
      ended.set_value();
      co_return;
    }
  }
  serving.server->start();
  serving.batches->start();
  print_banner(serving, *deployments);
}

Result<void> start(Serving& serving) {
  ALTLAS_TRY_VOID(join_nodes(serving));
  ALTLAS_TRY_VOID(start_service(serving));
  return make_server(serving);
}

int serve(const SettingFlags& flags, bool accept_loss) {
  raise_descriptor_limit();
  umask(077);  // Others may not read what the server makes.
  // Without these, glibc raises both thresholds to 32 and 64 MiB once a large block was freed; each
  // thread's arena then keeps that much at its end, where malloc_trim() does not reach.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  signal(SIGPIPE, SIG_IGN);  // The reader of standard output may leave; the server stays.
  Serving serving;
  serving.accept_loss = accept_loss;
  if (const auto built = build(flags, serving); !built.ok()) return fail(built.error());
  std::promise<void> ended;
  Contexts& contexts = serving.contexts;
  const auto run = [&serving](asio::io_context& context, const char* name) {
    serving.threads.emplace_back([&context, name, work = asio::make_work_guard(context)] {
      prctl(PR_SET_NAME, name);  // `top -H` shows the name.
      context.run();
    });
  };
  for (size_t i = 0; i < thread_count(serving.config.server.io_threads, 4); ++i)
    run(contexts.io, "altlas-io");
  run(contexts.control, "altlas-control");
  run(contexts.links, "altlas-links");
  run(contexts.large, "altlas-large");
  int code = kExitOk;
  double patience = 0;
  if (const auto started = start(serving); !started.ok()) {
    code = fail(started.error());
  } else {
    asio::co_spawn(asio::make_strand(serving.contexts.io), watch_signals(flags, serving, ended),
                   asio::detached);
    ended.get_future().wait();
    patience = serving.live.get()->server.graceful_shutdown_timeout_s;
    if (serving.load_error) {
      code = fail(*serving.load_error);
      patience = 0;
    }
  }
  if (serving.batches) serving.batches->stop();
  if (serving.service) serving.service->stop(static_cast<int64_t>(patience * 1000));
  if (serving.server) serving.server->close();
  for (asio::io_context* context :
       {&contexts.io, &contexts.large, &contexts.control, &contexts.links})
    context->stop();
  for (std::thread& thread : serving.threads) thread.join();
  return code;
}

}  // namespace

Run make_serve(CLI::App& app) {
  auto flags = std::make_shared<SettingFlags>();
  auto only_check = std::make_shared<bool>(false);
  add_setting_flags(app, *flags, FlagSet::kAll);
  auto accept_loss = std::make_shared<bool>(false);
  app.add_flag("--validate-config", *only_check, "Check the configuration and end");
  app.add_flag("--accept-loss", *accept_loss,
               "Start although events that were written are gone from the journal");
  return [flags, only_check, accept_loss] {
    if (!*only_check) return serve(*flags, *accept_loss);
    return check_config(*flags);
  };
}

}  // namespace altlas::cli
