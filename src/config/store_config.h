// Sections `store`, `spot` and `cluster`: the journal, machines that go away, and machines that
// work together.
#pragma once

#include <string>
#include <vector>

#include "config/field.h"
#include "config/names.h"

namespace altlas::config {

struct StoreConfig {
  std::string url;
  std::string data_dir;
  TokenJournal tokens = TokenJournal::kAsync;
  int64_t tasks_kept_max = 100000;
  int64_t tasks_kept_bytes_max = 256 << 20;
  double idempotency_key_ttl_s = 86400;
  double checkpoint_interval_s = 5;
  int64_t event_log_bytes_max = 64 << 20;

  static constexpr void fields(auto&& field) {
    using S = StoreConfig;
    place_fields(field);
    kept_fields(field);
    field("checkpoint_interval_s", &S::checkpoint_interval_s,
          FieldInfo{.help = "Period of counter checkpoints.",
                    .unit = "s",
                    .min = 0.1,
                    .max = 3600,
                    .not_yet = "remove it"});
    field("event_log_bytes_max", &S::event_log_bytes_max,
          FieldInfo{
              .help = "Size of the event log's two files in the data directory at most; the newest "
                      "events are kept.",
              .unit = "bytes",
              .min = 0,
              .form = Form::kBytes});
  }

 private:
  static constexpr void place_fields(auto& field) {
    using S = StoreConfig;
    field("url", &S::url,
          FieldInfo{.help =
                        "Journal: empty for SQLite in the data directory, sqlite:PATH, or memory; "
                        "PostgreSQL is not there yet.",
                    .secret = true});
    field(
        "data_dir", &S::data_dir,
        FieldInfo{.help = "Data directory; empty is $XDG_STATE_HOME/altlas, none keeps nothing."});
    field("tokens", &S::tokens,
          FieldInfo{.help = "When generated tokens reach the journal: within 50 ms, before they "
                            "are sent, or never."});
  }
  static constexpr void kept_fields(auto& field) {
    using S = StoreConfig;
    field("tasks_kept_max", &S::tasks_kept_max,
          FieldInfo{.help = "Ended tasks that stay known; the oldest of the key that has most go "
                            "first.",
                    .unit = "tasks",
                    .min = 0,
                    .max = 100000000,
                    .reload = true});
    field("tasks_kept_bytes_max", &S::tasks_kept_bytes_max,
          FieldInfo{.help = "Memory of their results; above it the oldest of the key whose results "
                            "are largest go.",
                    .unit = "bytes",
                    .min = 0,
                    .form = Form::kBytes});
    field("idempotency_key_ttl_s", &S::idempotency_key_ttl_s,
          FieldInfo{.help = "A repeat under the same idempotency_key is the same task for so long "
                            "after it was accepted, also when its result is not known any more; of "
                            "the last 100000 such tasks. The journal keeps them meanwhile.",
                    .unit = "s",
                    .min = 0,
                    .max = 31536000});
  }
};

// One pool of machines of one kind.
struct PoolConfig {
  std::string name;
  std::string instance_type;
  bool spot = false;
  int64_t min_workers = 0;
  int64_t max_workers = 1;
  double max_price = 0;
  double price_per_hour = 0;
  bool persistent = false;
  std::string devices;

  static constexpr void fields(auto&& field) {
    using S = PoolConfig;
    field("name", &S::name, FieldInfo{.help = "Name of the pool."});
    field("instance_type", &S::instance_type,
          FieldInfo{.help = "Kind of machine, as the cloud names it."});
    field("spot", &S::spot, FieldInfo{.help = "Machines that may be taken away at short notice."});
    field("min_workers", &S::min_workers,
          FieldInfo{.help = "Machines at least.", .min = 0, .max = 4096});
    field("max_workers", &S::max_workers,
          FieldInfo{.help = "Machines at most.", .min = 0, .max = 4096});
    field("max_price", &S::max_price,
          FieldInfo{.help = "Highest price bid; 0 is the on-demand price.",
                    .unit = "USD per hour",
                    .min = 0,
                    .max = 1e6});
    field("price_per_hour", &S::price_per_hour,
          FieldInfo{.help = "Price of one machine; 0 takes the price table's.",
                    .unit = "USD per hour",
                    .min = 0,
                    .max = 1e6});
    field("persistent", &S::persistent,
          FieldInfo{.help = "Ask again when a spot machine was taken."});
    field("devices", &S::devices,
          FieldInfo{.help = "Devices of one machine, as in engine.devices."});
  }
};

struct SpotConfig {
  bool enabled = false;
  std::string notice_file;
  std::string metadata_url;
  double poll_interval_s = 1;
  double notice_s = 120;
  std::vector<PoolConfig> pools;

  static constexpr void fields(auto&& field) {
    using S = SpotConfig;
    field("enabled", &S::enabled,
          FieldInfo{.help = "Watch for notices that this machine will be taken away."});
    field("notice_file", &S::notice_file,
          FieldInfo{.help = "The notice is given when this file appears."});
    field("metadata_url", &S::metadata_url,
          FieldInfo{
              .help =
                  "The notice is given when this URL answers 200 (the cloud's metadata service)."});
    field("poll_interval_s", &S::poll_interval_s,
          FieldInfo{.help = "Period of the watch.", .unit = "s", .min = 0.05, .max = 60});
    field(
        "notice_s", &S::notice_s,
        FieldInfo{.help = "Time from the notice to the end.", .unit = "s", .min = 1, .max = 3600});
    field("pools", &S::pools, FieldInfo{.help = "Pools of machines.", .key = "name"});
  }
};

struct ClusterConfig {
  bool enabled = false;
  std::string listen;
  std::vector<std::string> workers;
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  double heartbeat_interval_s = 1;
  double worker_timeout_s = 5;
  double start_timeout_s = 300;

  static constexpr void fields(auto&& field) {
    using S = ClusterConfig;
    field("enabled", &S::enabled, FieldInfo{.help = "Use devices of other machines: each runs `altlas worker --connect`."});
    field("listen", &S::listen,
          FieldInfo{.help = "HOST:PORT where workers of other machines connect (mutual TLS); port 0 "
                            "takes a free one."});
    field("workers", &S::workers,
          FieldInfo{.help = "Names of the machines that are waited for at the start, as their "
                            "certificates have them (`altlas certs`). Nobody else is let in."});
    field("tls_ca", &S::tls_ca,
          FieldInfo{.help = "PEM file of the authority that signed the workers' certificates."});
    field("tls_cert", &S::tls_cert, FieldInfo{.help = "PEM file of this machine's certificate."});
    field("tls_key", &S::tls_key, FieldInfo{.help = "PEM file of this machine's private key."});
    field("heartbeat_interval_s", &S::heartbeat_interval_s,
          FieldInfo{.help = "Period of heartbeats between server and workers.",
                    .unit = "s",
                    .min = 0.05,
                    .max = 60});
    field("worker_timeout_s", &S::worker_timeout_s,
          FieldInfo{.help = "Silence after which the other side counts as gone.",
                    .unit = "s",
                    .min = 0.1,
                    .max = 600});
    field("start_timeout_s", &S::start_timeout_s,
          FieldInfo{.help = "The server gives up its start when a machine of `workers` has not "
                            "connected in so long.",
                    .unit = "s",
                    .min = 1,
                    .max = 86400});
  }
};

}  // namespace altlas::config
