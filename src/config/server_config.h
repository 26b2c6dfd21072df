// Sections `server` and `auth`: the listener, its limits, and who may do what.
#pragma once

#include <string>
#include <vector>

#include "config/field.h"
#include "config/names.h"

namespace altlas::config {

struct ServerConfig {
  std::string host = "127.0.0.1";
  int64_t port = 8000;
  std::string tls_cert;
  std::string tls_key;
  std::vector<std::string> cors_origins;
  std::vector<std::string> allowed_hosts;
  int64_t io_threads = 0;
  int64_t text_threads = 0;
  int64_t connections_max = 4096;
  int64_t connections_per_address_max = 2048;
  int64_t request_bytes_max = 0;
  int64_t body_bytes_max = 8 << 20;
  int64_t header_bytes_max = 32 << 10;
  int64_t header_count_max = 100;
  int64_t target_bytes_max = 8 << 10;
  int64_t json_depth_max = 64;
  int64_t batch_items_max = 1000;
  int64_t list_limit_max = 10000;
  int64_t file_bytes_max = 64 << 20;
  int64_t files_max = 1000;
  int64_t files_bytes_max = int64_t{4} << 30;
  int64_t batch_lines_max = 50000;
  int64_t batches_max = 1000;
  int64_t batch_parallel_max = 32;
  double idle_timeout_s = 60;
  double slow_sender_timeout_s = 60;
  double slow_reader_timeout_s = 60;
  int64_t stream_buffer_bytes_max = 1 << 20;
  double wait_max_s = 300;
  double graceful_shutdown_timeout_s = 30;

  static constexpr void fields(auto&& field) {
    listener_fields(field);
    limit_fields(field);
    file_fields(field);
    time_fields(field);
  }

 private:
  static constexpr void listener_fields(auto& field) {
    using S = ServerConfig;
    field("host", &S::host,
          FieldInfo{.help = "Address to listen on; without a key only a loopback address."});
    field("port", &S::port,
          FieldInfo{.help = "Port to listen on; 0 takes a free one.", .min = 0, .max = 65535});
    field("tls_cert", &S::tls_cert,
          FieldInfo{.help = "PEM file of the certificate chain; with tls_key, HTTPS is served."});
    field("tls_key", &S::tls_key, FieldInfo{.help = "PEM file of the certificate's private key."});
    field("cors_origins", &S::cors_origins,
          FieldInfo{.help = "Origins whose pages may call the API, or '*'.",
                    .reload = true,
                    .one_or_list = true});
    field("allowed_hosts", &S::allowed_hosts,
          FieldInfo{.help = "Names, beside loopback ones and its own address, under which a server "
                            "without keys may be asked (Host); '*' allows every one.",
                    .one_or_list = true});
    field("io_threads", &S::io_threads,
          FieldInfo{.help = "Threads for the network; 0 chooses by the number of cores.",
                    .min = 0,
                    .max = 256});
    field("text_threads", &S::text_threads,
          FieldInfo{.help = "Threads for tokenizing, half of them for grammars (of 1, one more); 0 "
                            "chooses by the number of cores.",
                    .min = 0,
                    .max = 256});
  }
  static constexpr void limit_fields(auto& field) {
    using S = ServerConfig;
    field("connections_max", &S::connections_max,
          FieldInfo{
              .help = "Connections at a time.", .unit = "connections", .min = 1, .max = 1 << 20});
    field("connections_per_address_max", &S::connections_per_address_max,
          FieldInfo{.help = "Connections of one address (IPv6: of one /64 network) at a time.",
                    .unit = "connections",
                    .min = 1,
                    .max = 1 << 20});
    field("request_bytes_max", &S::request_bytes_max,
          FieldInfo{.help = "Memory of all requests in hand, bodies that are being read included; "
                            "above it 429. 0: a quarter of the memory, at most 512 MiB.",
                    .unit = "bytes",
                    .min = 0,
                    .form = Form::kBytes});
    field("body_bytes_max", &S::body_bytes_max,
          FieldInfo{.help = "Largest request body; above it 413.",
                    .unit = "bytes",
                    .min = 1024,
                    .max = 1 << 30,
                    .form = Form::kBytes});
    field("header_bytes_max", &S::header_bytes_max,
          FieldInfo{.help = "Largest request header block; above it 431.",
                    .unit = "bytes",
                    .min = 1024,
                    .max = 1 << 20,
                    .form = Form::kBytes});
    field("header_count_max", &S::header_count_max,
          FieldInfo{.help = "Header lines of a request at most.", .min = 8, .max = 10000});
    field("target_bytes_max", &S::target_bytes_max,
          FieldInfo{.help = "Longest path with query; above it 414.",
                    .unit = "bytes",
                    .min = 256,
                    .max = 1 << 20,
                    .form = Form::kBytes});
    field("json_depth_max", &S::json_depth_max,
          FieldInfo{.help = "Deepest nesting of request JSON.", .min = 4, .max = 1024});
    field("batch_items_max", &S::batch_items_max,
          FieldInfo{.help = "Items of one batch request at most.", .min = 1, .max = 100000});
    field("list_limit_max", &S::list_limit_max,
          FieldInfo{
              .help = "Tasks that one listing returns at most; a higher limit is lowered to it.",
              .min = 1,
              .max = 1000000});
  }
  static constexpr void file_fields(auto& field) {
    using S = ServerConfig;
    field("file_bytes_max", &S::file_bytes_max,
          FieldInfo{.help = "Largest file that /v1/files takes; above it 413.",
                    .unit = "bytes",
                    .min = 1024,
                    .max = 1 << 30,
                    .form = Form::kBytes});
    field("files_max", &S::files_max,
          FieldInfo{.help = "Files of /v1/files at most, results of batches included; the next is "
                            "refused until one is deleted.",
                    .min = 1,
                    .max = 1000000});
    field("files_bytes_max", &S::files_bytes_max,
          FieldInfo{.help = "Bytes of all files together, results of batches included.",
                    .unit = "bytes",
                    .min = 1 << 20,
                    .form = Form::kBytes});
    field("batch_lines_max", &S::batch_lines_max,
          FieldInfo{.help = "Requests in the file of one /v1/batches batch at most.",
                    .min = 1,
                    .max = 1000000});
    field("batches_max", &S::batches_max,
          FieldInfo{.help = "Batches of /v1/batches that stay known; when all of them still run, "
                            "the next is refused, otherwise the oldest ended one goes.",
                    .min = 1,
                    .max = 100000});
    field("batch_parallel_max", &S::batch_parallel_max,
          FieldInfo{.help = "Requests of all batches in the queue or running at a time.",
                    .min = 1,
                    .max = 10000});
  }
  static constexpr void time_fields(auto& field) {
    using S = ServerConfig;
    field("idle_timeout_s", &S::idle_timeout_s,
          FieldInfo{.help = "A connection without a request is closed after it.",
                    .unit = "s",
                    .min = 1,
                    .max = 86400});
    field("slow_sender_timeout_s", &S::slow_sender_timeout_s,
          FieldInfo{
              .help = "A request must arrive whole within it.", .unit = "s", .min = 1, .max = 60});
    field("slow_reader_timeout_s", &S::slow_reader_timeout_s,
          FieldInfo{.help = "A client that takes no byte of an answer for so long is closed.",
                    .unit = "s",
                    .min = 1,
                    .max = 3600});
    field("stream_buffer_bytes_max", &S::stream_buffer_bytes_max,
          FieldInfo{.help = "Unsent bytes kept for one stream; a slower reader is closed.",
                    .unit = "bytes",
                    .min = 4096,
                    .max = 1 << 30,
                    .form = Form::kBytes});
    field("wait_max_s", &S::wait_max_s,
          FieldInfo{.help = "Longest long poll; a higher wait is lowered to it.",
                    .unit = "s",
                    .min = 0,
                    .max = 86400});
    field("graceful_shutdown_timeout_s", &S::graceful_shutdown_timeout_s,
          FieldInfo{.help = "Time to finish or hand over tasks after SIGTERM.",
                    .unit = "s",
                    .min = 0,
                    .max = 86400,
                    .reload = true});
  }
};

struct KeyConfig {
  std::string name;
  std::string key;
  Role role = Role::kUser;

  static constexpr void fields(auto&& field) {
    using S = KeyConfig;
    field("name", &S::name, FieldInfo{.help = "Name of the holder; tasks belong to it."});
    field("key", &S::key, FieldInfo{.help = "The secret that a request carries.", .secret = true});
    field(
        "role", &S::role,
        FieldInfo{.help = "What the holder may do: own tasks, everything, or only read metrics."});
  }
};

struct AuthConfig {
  std::vector<KeyConfig> keys;
  std::string keys_file;
  std::vector<std::string> api_keys;

  static constexpr void fields(auto&& field) {
    using S = AuthConfig;
    field("keys", &S::keys,
          FieldInfo{.help = "Keys with names and roles.", .reload = true, .key = "name"});
    field("keys_file", &S::keys_file,
          FieldInfo{.help = "File of admin keys, one a line; empty lines and lines starting with "
                            "'#' do not count.",
                    .reload = true});
    field("api_keys", &S::api_keys,
          FieldInfo{.help = "Admin keys.",
                    .reload = true,
                    .secret = true,
                    .one_or_list = true,
                    .environment = "ALTLAS_API_KEY"});
  }
};

}  // namespace altlas::config
