// UsageKeeper: the usage of keys among the journal's values, so that it outlives the server.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "control/board/usage_book.h"
#include "journal/writer.h"

namespace altlas::control {

// Threads: that of the book.
class UsageKeeper {
 public:
  static constexpr std::string_view kName = "usage";

  // Before the writer starts. What can't be read is left out, with a warning.
  static void load(journal::Store& store, UsageBook& book) {
    const Result<std::string> kept = store.get_value(kName);
    const Result<void> loaded = kept.ok() ? book.load(*kept) : Result<void>(kept.error());
    if (!loaded.ok() && loaded.error().code() != ErrorCode::kNotFound)
      log::warn("{}: it begins anew", loaded.error().message());
  }
  // Writes what changed. Usage that can't be written now is written the next time.
  void save(journal::JournalWriter& writer, const UsageBook& book) {
    std::string text = book.save();
    if (text == saved_) return;
    saved_ = text;
    const auto taken = writer.put_value(std::string(kName), std::move(text), [](const auto&) {});
    if (!taken.ok()) saved_.clear();
  }

 private:
  std::string saved_;
};

}  // namespace altlas::control
