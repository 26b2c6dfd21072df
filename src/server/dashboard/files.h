// The dashboard's files, which are compiled into the program, and how they are answered.
#pragma once

#include <span>
#include <string_view>

#include "server/http/http.h"

namespace altlas::server {

struct DashboardFile {
  std::string_view name;  // "app.js"; "index.html" is answered at "/".
  std::string_view content_type;
  std::string_view tag;     // Changes with its content.
  std::string_view packed;  // gzip.
  size_t bytes = 0;         // Unpacked.
};

// Every file, by name. Made by dashboard/embed.py.
std::span<const DashboardFile> dashboard_files();

// The file as `request` can take it: packed or not, or 304 for one that it has. The headers keep
// the page from loading or running anything that is not the server's.
Response file_response(const DashboardFile& file, const Request& request);

}  // namespace altlas::server
