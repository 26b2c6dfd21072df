// OpenAI's files: /v1/files, which hold the inputs and results of batches.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/utf8.h"
#include "server/batches/batch_json.h"
#include "server/batches/file_desk.h"
#include "server/batches/page.h"
#include "server/body/query.h"
#include "server/body/read.h"
#include "server/handlers.h"
#include "server/http/multipart.h"
#include "server/routes.h"
#include "text/json_text.h"

namespace altlas::server {
namespace {

namespace json = boost::json;
using boost::asio::awaitable;

constexpr uint64_t kPieceBytes = 256 << 10;
constexpr size_t kFilenameBytesMax = 256;
// Returns the object that the form stands for. A form has no objects: `expires_after[seconds]` is a
// part of its own, or the whole is one part with JSON text. The file is represented by its name.
json::object form_json(const std::vector<FormPart>& parts) {
  constexpr std::string_view kName = "expires_after";
  json::object body{{"purpose", ""}};
  for (const FormPart& part : parts) {
    if (part.name == "purpose") body["purpose"] = part.body;
    if (part.name == "file") body["file"] = part.filename;
    if (part.name == kName) {
      boost::system::error_code error;
      body[kName] = json::parse(part.body, error);
      if (error) body[kName] = part.body;
      continue;
    }
    if (!part.name.starts_with(kName) || !part.name.ends_with(']')) continue;
    const std::string_view rest = std::string_view(part.name).substr(kName.size());
    if (!rest.starts_with('[')) continue;
    json::value value(part.body);
    int64_t number = 0;
    const auto [end, error] =
        std::from_chars(part.body.data(), part.body.data() + part.body.size(), number);
    if (error == std::errc() && end == part.body.data() + part.body.size()) value = number;
    if (!body.contains(kName)) body[kName] = json::object();
    if (json::object* object = body[kName].if_object())
      (*object)[rest.substr(1, rest.size() - 2)] = std::move(value);
  }
  return body;
}

// POST /v1/files (multipart/form-data: purpose, file, expires_after) -> the file.
awaitable<Result<Response>> upload(Request request, Services& services) {
  ALTLAS_CO_TRY(const auto parts, parse_multipart(request.content_type, request.body));
  const json::object object = form_json(parts);
  JsonReader reader(object);
  FileUploadBody body;
  read_fields(reader, body, *services.now());
  if (std::ranges::find(kFilePurposes, body.purpose) == std::end(kFilePurposes))
    co_return invalid(
        fmt::format("purpose: is '{}', should be {}: files are the input of /v1/batches",
                    body.purpose.substr(0, 32), kFilePurposes[0]),
        "purpose");
  ALTLAS_CO_TRY_VOID(reader.status());
  const FormPart* file = nullptr;
  for (const FormPart& part : parts)
    if (part.name == "file") file = &part;
  if (file->filename.size() > kFilenameBytesMax)
    co_return invalid(fmt::format("file: its name has {} bytes, at most {} are taken",
                                  file->filename.size(), kFilenameBytesMax),
                      "file");
  FileInfo info;
  info.owner = request.identity.name;
  info.filename = file->filename.empty() ? "upload.jsonl" : repair_utf8(file->filename);
  info.purpose = body.purpose;
  info.created = system_clock().now();
  if (const TimeUs lifetime = lifetime_of(body.expires_after); lifetime != 0)
    info.expires = info.created + lifetime;
  const auto offset = static_cast<size_t>(file->body.data() - request.body.data());
  const size_t size = file->body.size();
  auto work = [info, body = std::move(request.body), offset, size](Files& files, Batches&) mutable {
    return files.create(std::move(info),
                        std::string_view(body).substr(size == 0 ? 0 : offset, size));
  };
  ALTLAS_CO_TRY(const FileInfo kept, co_await services.desk->run<FileInfo>(std::move(work)));
  co_return json_response(text::json_text(file_to_json(kept)));
}

struct FileListQuery {
  std::optional<std::string> purpose;
  PageQuery page;

  static constexpr void fields(auto&& field) {
    using S = FileListQuery;
    field("purpose", &S::purpose, BodyField{.help = "Only files of this purpose"});
    field(&S::page);
  }
};
static_assert(fields_complete<FileListQuery>(), "describe every member in fields()");

awaitable<Result<Response>> list_files(Request request, Services& services) {
  ALTLAS_CO_TRY(const FileListQuery query, read_query<FileListQuery>(request, *services.now()));
  const auto work = [](Files& files, Batches&) -> Result<std::vector<FileInfo>> {
    return files.list();
  };
  ALTLAS_CO_TRY(auto all, co_await services.desk->run<std::vector<FileInfo>>(work));
  std::erase_if(all, [&](const FileInfo& file) {
    return !may_see(request.identity, file.owner) ||
           (query.purpose && file.purpose != *query.purpose);
  });
  ALTLAS_CO_TRY(const Page<FileInfo> page, page_of(std::move(all), query.page, 10'000));
  json::array data;
  for (const FileInfo& file : page.items) data.push_back(file_to_json(file));
  co_return json_response(text::json_text(page_json(page, std::move(data))));
}

// Returns the file named in the path, if the asker may see it.
awaitable<Result<FileInfo>> own_file(const Request& request, Services& services) {
  const Identity identity = request.identity;
  auto work = [id = std::string(request.parameter("id")), identity](Files& files,
                                                                    Batches&) -> Result<FileInfo> {
    auto found = files.find(id);
    if (found.ok() && !may_see(identity, found->owner))
      return not_found(
          fmt::format("no file '{}': it was never sent, was deleted, or has expired", id));
    return found;
  };
  co_return co_await services.desk->run<FileInfo>(std::move(work));
}

awaitable<Result<Response>> get_file(Request request, Services& services) {
  ALTLAS_CO_TRY(const FileInfo file, co_await own_file(request, services));
  co_return json_response(text::json_text(file_to_json(file)));
}

awaitable<Result<Response>> get_content(Request request, Services& services) {
  ALTLAS_CO_TRY(const FileInfo file, co_await own_file(request, services));
  Response response;
  response.content_type = "application/octet-stream";
  auto open = [id = file.id](Files& files, Batches&) { return files.open_content(id); };
  using Content = std::shared_ptr<const OpenFile>;
  ALTLAS_CO_TRY(const Content content, co_await services.desk->run<Content>(std::move(open)));
  response.stream_bytes = file.bytes;  // Clients see how far they are, and whether everything came.
  response.stream = [content, size = file.bytes, &services](WriteChunk write) -> awaitable<void> {
    for (uint64_t offset = 0; offset < size; offset += kPieceBytes) {
      auto work = [content, offset](Files&, Batches&) {
        return content->read(offset, kPieceBytes);
      };
      auto piece = co_await services.desk->run<std::string>(std::move(work));
      // An exception ends the connection.
      if (!piece.ok()) throw std::runtime_error(piece.error().message());
      if (!(co_await write(*std::move(piece))).ok()) co_return;
    }
  };
  co_return response;
}

awaitable<Result<Response>> delete_file(Request request, Services& services) {
  ALTLAS_CO_TRY(const FileInfo file, co_await own_file(request, services));
  auto work = [id = file.id](Files& files, Batches& batches) -> Result<void> {
    if (batches.uses_file(id))
      return Error(ErrorCode::kConflict,
                   fmt::format("file '{}' is the input of a batch that is not over: cancel it, or "
                               "wait for its end",
                               id));
    return files.remove(id);
  };
  ALTLAS_CO_TRY_VOID(co_await services.desk->run<void>(std::move(work)));
  const json::object answer{{"id", file.id}, {"object", "file"}, {"deleted", true}};
  co_return json_response(text::json_text(answer));
}

}  // namespace

json::object file_part_schema(const config::Config&) {
  return {{"type", "string"}, {"contentMediaType", "application/octet-stream"}};
}

std::vector<Route> file_routes() {
  return {
      {"POST",
       "/v1/files",
       Access::kUser,
       upload,
       "Send a file of requests for a batch",
       "FileUpload",
       "File",
       {},
       {400, 413, 415, 429, 503},
       "application/json",
       "multipart/form-data"},
      {"GET",
       "/v1/files",
       Access::kUser,
       list_files,
       "Files, newest first",
       "",
       "FileList",
       &kQueryOf<FileListQuery>,
       {400, 404}},
      {"GET", "/v1/files/{id}", Access::kUser, get_file, "One file", "", "File", {}, {404}},
      {"GET",
       "/v1/files/{id}/content",
       Access::kUser,
       get_content,
       "What is in a file",
       "",
       "",
       {},
       {404},
       "application/octet-stream"},
      {"DELETE",
       "/v1/files/{id}",
       Access::kUser,
       delete_file,
       "Delete a file",
       "",
       "FileDeleted",
       {},
       {404, 409}},
  };
}

}  // namespace altlas::server
