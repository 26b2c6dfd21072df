#include "text/tool_calls/tool_calls.h"

#include <algorithm>
#include <utility>

namespace altlas::text {

namespace {

// Returns the size of the longest end of `text` that `tag` begins with.
size_t begun(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n)
    if (text.ends_with(tag.substr(0, n))) return n;
  return 0;
}

}  // namespace

std::vector<AnswerPiece> AnswerReader::push(std::string_view text) {
  held_ += text;
  std::vector<AnswerPiece> out;
  while (advance(/*last=*/false, out)) {
  }
  return out;
}

std::vector<AnswerPiece> AnswerReader::finish() {
  std::vector<AnswerPiece> out;
  while (advance(/*last=*/true, out)) {
  }
  return out;
}

void AnswerReader::say(AnswerPiece::Kind kind, std::string text, std::vector<AnswerPiece>& out) {
  if (text.empty()) return;
  if (!out.empty() && out.back().kind == kind && kind != AnswerPiece::Kind::kCall)
    out.back().text += text;
  else
    out.push_back({kind, std::move(text), {}});
}

// Does one step. Returns false if more text is needed or nothing is left.
bool AnswerReader::advance(bool last, std::vector<AnswerPiece>& out) {
  switch (state_) {
    case State::kStart:
      return start(last);
    case State::kReasoning: {
      if (fresh_) drop_line_ends();
      fresh_ = fresh_ && held_.empty();
      const std::string_view tag = options_.reasoning.end;
      const size_t end = held_.find(tag);
      const size_t said = end != std::string::npos ? end
                          : last                   ? held_.size()
                                                   : held_.size() - begun(held_, tag);
      say(AnswerPiece::Kind::kReasoning, held_.substr(0, said), out);
      held_.erase(0, said + (end != std::string::npos ? tag.size() : 0));
      if (end == std::string::npos) return false;
      state_ = State::kStart;
      reasoned_ = true;
      return true;
    }
    case State::kText:
      return read_text(last, out);
    case State::kCall:
    case State::kWhole:
      return read_calls(last, out);
  }
  return false;
}

// Decides by the first characters what the text is.
bool AnswerReader::start(bool last) {
  const size_t first = held_.find_first_not_of(" \t\r\n");
  const std::string_view text =
      first == std::string::npos ? std::string_view() : std::string_view(held_).substr(first);
  if (text.empty() && !last) return false;
  if (options_.reasoning.given() && !reasoned_)
    if (const auto decided = begin_reasoning(text, last)) return *decided;
  const std::string_view tag = tags_of(options_.format).begin;
  const bool tagged = !options_.tools.empty() && !text.empty() && !options_.forced &&
                      tag.starts_with(text.substr(0, tag.size()));
  if (tagged && !last && text.size() < tag.size()) return false;
  std::optional<bool> whole = options_.forced;
  if (!options_.forced && !options_.tools.empty() && !text.empty() && !tagged)
    whole = may_be_whole_call(options_.format, text);
  if (!whole && !last) return false;
  state_ = whole.value_or(false) ? State::kWhole : State::kText;
  if (reasoned_) drop_line_ends();
  return true;
}

// Decides by the first characters that are no spaces whether there is reasoning. Returns nothing if
// there is none.
std::optional<bool> AnswerReader::begin_reasoning(std::string_view text, bool last) {
  const ReasoningTags& tags = options_.reasoning;
  const bool tagged = text.starts_with(tags.begin);
  const bool answers = !tags.answer.empty() && text.starts_with(tags.answer);
  if (!tagged && !answers && !last &&
      (tags.begin.starts_with(text) || tags.answer.starts_with(text)))
    return false;
  // Some models repeat the mark that ends the prompt.
  if (tagged || answers) {
    const size_t mark = (tagged ? tags.begin : tags.answer).size();
    held_.erase(0, static_cast<size_t>(text.data() - held_.data()) + mark);
  } else if (!options_.in_reasoning) {
    return std::nullopt;
  }
  state_ = answers ? State::kStart : State::kReasoning;
  reasoned_ = answers;
  return true;
}

void AnswerReader::drop_line_ends() {
  held_.erase(0, std::min(held_.find_first_not_of('\n'), held_.size()));
}

// Reads text up to a tag; spaces before the tag belong to the call.
bool AnswerReader::read_text(bool last, std::vector<AnswerPiece>& out) {
  if (options_.tools.empty()) {
    say(AnswerPiece::Kind::kContent, std::exchange(held_, {}), out);
    return false;
  }
  const std::string_view tag = tags_of(options_.format).begin;
  const size_t at = held_.find(tag);
  size_t end = at != std::string::npos ? at
               : last                  ? held_.size()
                                       : held_.size() - begun(held_, tag);
  if (!last || at != std::string::npos)
    while (end > 0 && std::string_view(" \t\r\n").contains(held_[end - 1])) --end;
  const size_t cut = at != std::string::npos ? at : end;
  if (end > 0) say(AnswerPiece::Kind::kContent, std::exchange(space_, {}), out);
  say(AnswerPiece::Kind::kContent, held_.substr(0, end), out);
  if (at != std::string::npos) space_ += held_.substr(end, at - end);
  held_.erase(0, cut);
  if (at == std::string::npos) {
    if (last) say(AnswerPiece::Kind::kContent, calls_ == 0 ? std::exchange(space_, {}) : "", out);
    return false;
  }
  state_ = State::kCall;
  return true;
}

// Until stream_ exists, held_ begins with the beginning of the calls, the tag included.
bool AnswerReader::read_calls(bool last, std::vector<AnswerPiece>& out) {
  if (!options_.streams && !last) return false;
  const bool tagged = state_ == State::kCall;
  if (!stream_) {
    stream_.emplace(options_.format, tagged, options_.forced, options_.tools);
    tag_ = tagged ? held_.substr(0, tags_of(options_.format).begin.size()) : std::string();
    held_.erase(0, tag_.size());
  }
  const std::string before = options_.streams ? std::string() : held_;
  const CallStatus status = stream_->push(held_, last);
  const std::vector<CallSink::Piece> pieces = stream_->take();
  const bool broken = status == CallStatus::kBad;
  if (options_.streams || !broken) say_calls(pieces, out);
  if (status == CallStatus::kMore) return false;
  // The rest is text again, with what was not told; it may hold another tag.
  if (broken) {
    say(AnswerPiece::Kind::kContent, std::exchange(space_, {}) + tag_, out);
    held_ = options_.streams ? stream_->unsaid() + held_ : before;
  }
  space_.clear();
  tag_.clear();
  stream_.reset();
  state_ = State::kText;
  return !held_.empty() || last;
}

void AnswerReader::say_calls(const std::vector<CallSink::Piece>& pieces,
                             std::vector<AnswerPiece>& out) {
  for (const CallSink::Piece& piece : pieces) {
    const bool begins = piece.kind == CallSink::Piece::Kind::kBegin;
    if (begins) {
      tag_.clear();
      space_.clear();
      muted_ = options_.one_call && calls_ > 0;
    }
    if (muted_) continue;
    if (begins) {
      out.push_back({AnswerPiece::Kind::kCall, "", {piece.text, ""}});
      ++calls_;
    } else if (piece.kind == CallSink::Piece::Kind::kEnd) {
      ++whole_calls_;
    } else if (!options_.streams) {
      out.back().call.arguments += piece.text;
    } else {
      out.push_back({AnswerPiece::Kind::kArguments, piece.text, {}});
    }
  }
}

}  // namespace altlas::text
