#include "plan/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace altlas::plan {

CsvReader::CsvReader(std::string_view text) : text_(text) {
  if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
}

void CsvReader::line_break() {
  const bool both = text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n';
  at_ += both ? 2 : 1;
  ++line_;
}

// Reads a quoted field. The position is behind the opening quote before, and behind the closing one
// after.
Result<std::string> CsvReader::quoted() {
  const int64_t opened = line_;
  std::string out;
  bool closed = false;
  while (!at_end()) {
    const char c = text_[at_];
    if (c == '"') {
      ++at_;
      closed = at_end() || text_[at_] != '"';
      if (closed) break;
      out += '"';
      ++at_;
    } else if (c == '\r' || c == '\n') {
      const size_t start = at_;
      line_break();
      out += text_.substr(start, at_ - start);
    } else {
      out += c;
      ++at_;
    }
    if (out.size() > kCsvFieldBytesMax)
      return invalid(
          fmt::format("line {}: a field in quotes is longer than {} bytes: is its "
                      "closing quote missing?",
                      opened, kCsvFieldBytesMax));
  }
  if (!closed) return invalid(fmt::format("line {}: a quote is not closed", opened));
  if (!at_end() && std::string_view(",\r\n").find(text_[at_]) == std::string_view::npos)
    return invalid(
        fmt::format("line {}: text follows a closing quote; a quote inside a field is "
                    "written twice",
                    line_));
  return out;
}

Result<std::string> CsvReader::field() {
  if (!at_end() && text_[at_] == '"') {
    ++at_;
    return quoted();
  }
  const size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
  const std::string_view plain = text_.substr(at_, end - at_);
  if (plain.size() > kCsvFieldBytesMax)
    return invalid(
        fmt::format("line {}: a field is longer than {} bytes", line_, kCsvFieldBytesMax));
  if (plain.find('"') != std::string_view::npos)
    return invalid(fmt::format("line {}: a quote stands inside a field without quotes", line_));
  at_ = end;
  return std::string(plain);
}

Result<bool> CsvReader::next(CsvRecord& record) {
  while (!at_end() && (text_[at_] == '\n' || text_[at_] == '\r')) line_break();
  if (at_end()) return false;
  record.line = line_;
  record.fields.clear();
  const size_t start = at_;
  while (true) {
    ALTLAS_TRY(std::string value, field());
    if (value.find('\0') != std::string::npos)
      return invalid(fmt::format("line {}: a NUL byte: this is no text", line_));
    record.fields.push_back(std::move(value));
    if (record.fields.size() > kCsvColumnsMax)
      return invalid(fmt::format("line {}: more than {} columns", record.line, kCsvColumnsMax));
    if (at_end() || text_[at_] != ',') break;
    ++at_;
  }
  record.raw = text_.substr(start, at_ - start);
  if (!at_end()) line_break();
  return true;
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace altlas::plan
