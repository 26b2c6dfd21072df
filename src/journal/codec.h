// Journal events as bytes: what a row of the journal holds, with a version and a checksum.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "journal/events.h"

namespace altlas::journal {

// First byte of every payload. A newer altlas reads every older version.
inline constexpr uint8_t kPayloadVersion = 2;
// Version (1 byte), checksum (4 bytes, little endian).
inline constexpr size_t kPayloadHeaderBytes = 5;

// The payload of `event`: everything but its task id, which is a column of its own. The checksum
// covers the id too.
std::string encode_event(const TaskEvent& event);

// The event of `task` in `payload`.  Errors: kInvalid for another version, a wrong checksum (a
// changed byte, or a payload under another task's id), what can't be parsed, and values outside
// their enums.
Result<TaskEvent> decode_event(const TaskId& task, std::string_view payload);

// The 16 bytes of an id, high word first, and back.  Errors: kInvalid for another length.
std::string encode_task_id(const TaskId& id);
Result<TaskId> decode_task_id(std::string_view bytes);

}  // namespace altlas::journal
