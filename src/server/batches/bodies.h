// The bodies of /v1/files and /v1/batches, and the lines of a batch's file.
#pragma once

#include "base/fields.h"
#include "server/batches/batch_input.h"
#include "server/body/field.h"

namespace altlas::server {

enum class ExpiryAnchor : uint8_t { kCreated };
inline constexpr EnumName kExpiryAnchorNames[] = {{"created_at", 0}};
constexpr std::span<const EnumName> names_of(ExpiryAnchor) { return kExpiryAnchorNames; }

// When a file is deleted, as OpenAI's files and batches take it.
struct ExpiresAfter {
  ExpiryAnchor anchor = ExpiryAnchor::kCreated;
  int64_t seconds = 1;

  static constexpr void fields(auto&& field) {
    using S = ExpiresAfter;
    field("anchor", &S::anchor, BodyField{.needed = "should be created_at"});
    field("seconds", &S::seconds,
          BodyField{.needed = "should be 1 to 2592000", .min = 1, .max = 30 * 86400});
  }
};
static_assert(fields_complete<ExpiresAfter>(), "describe every member in fields()");
inline constexpr BodyField kExpiresAfterField{.shared = "ExpiresAfter"};

inline constexpr std::string_view kFilePurposes[] = {"batch"};
boost::json::object file_part_schema(const config::Config& now);

// The parts of the form.
struct FileUploadBody {
  std::string purpose;
  const boost::json::value* file = nullptr;  // Its name.
  std::optional<ExpiresAfter> expires_after;

  static constexpr void fields(auto&& field) {
    using S = FileUploadBody;
    field("purpose", &S::purpose, BodyField{.needed = "should be batch", .choices = kFilePurposes});
    field("file", &S::file,
          BodyField{.needed = "should be the file's part", .schema = file_part_schema});
    field("expires_after", &S::expires_after, kExpiresAfterField);
  }
};
static_assert(fields_complete<FileUploadBody>(), "describe every member in fields()");

boost::json::object metadata_schema(const config::Config& now);

struct BatchBody {
  std::string input_file_id, endpoint;
  std::string completion_window = "24h";
  std::optional<ExpiresAfter> output_expires_after;
  const boost::json::object* metadata = nullptr;

  static constexpr void fields(auto&& field) {
    using S = BatchBody;
    field("input_file_id", &S::input_file_id, BodyField{.needed = "should be a string"});
    field("endpoint", &S::endpoint,
          BodyField{.needed = "should be a string", .choices = kBatchEndpoints});
    field("completion_window", &S::completion_window,
          BodyField{.help = "Such as 24h, 90m or 30s, at most 7d",
                    .pattern = "^([1-7]d|[1-9][0-9]?[hms])$"});
    field("output_expires_after", &S::output_expires_after, kExpiresAfterField);
    field("metadata", &S::metadata, BodyField{.schema = metadata_schema});
  }
};
static_assert(fields_complete<BatchBody>(), "describe every member in fields()");

enum class LineMethod : uint8_t { kPost };
inline constexpr EnumName kLineMethodNames[] = {{"POST", 0}};
constexpr std::span<const EnumName> names_of(LineMethod) { return kLineMethodNames; }

// One line of the file that a batch carries out.
struct BatchLineBody {
  std::string custom_id;
  LineMethod method = LineMethod::kPost;
  std::string url;
  const boost::json::object* body = nullptr;

  static constexpr void fields(auto&& field) {
    using S = BatchLineBody;
    field("custom_id", &S::custom_id,
          BodyField{.help = "Another on each line",
                    .needed = "should be a string",
                    .min = 1,
                    .max = kCustomIdMax});
    field("method", &S::method, BodyField{.needed = "should be POST"});
    field("url", &S::url,
          BodyField{.help = "The batch's endpoint", .needed = "should be a string"});
    field("body", &S::body,
          BodyField{.help = "What the endpoint takes, without stream",
                    .needed = "should be the request as an object"});
  }
};
static_assert(fields_complete<BatchLineBody>(), "describe every member in fields()");

// What no line's body may ask for.
struct LineBodyFields {
  bool stream = false;

  static constexpr void fields(auto&& field) {
    field("stream", &LineBodyFields::stream, BodyField{});
  }
};

}  // namespace altlas::server
