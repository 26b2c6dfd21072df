// Records of a CSV text (RFC 4180), with the lines they stand on.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace altlas::plan {

inline constexpr size_t kCsvColumnsMax = 256;
inline constexpr size_t kCsvFieldBytesMax = 64 << 10;

struct CsvRecord {
  int64_t line = 0;      // Where it starts, from 1.
  std::string_view raw;  // As it stands there, without its line break.
  std::vector<std::string> fields;
};

class CsvReader {
 public:
  // text: outlives the reader. A byte order mark at its start is skipped; lines end with LF, CRLF
  // or CR.
  explicit CsvReader(std::string_view text);
  // The next record that is not an empty line; false at the end. Errors: kInvalid with the line.
  Result<bool> next(CsvRecord& record);

 private:
  Result<std::string> quoted();
  Result<std::string> field();
  bool at_end() const { return at_ >= text_.size(); }
  void line_break();

  std::string_view text_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

// `text` as a field, in quotes where it needs them.
std::string csv_field(std::string_view text);

}  // namespace altlas::plan
