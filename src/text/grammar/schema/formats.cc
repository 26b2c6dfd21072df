#include "text/grammar/schema/formats.h"

#include <fmt/format.h>

namespace altlas::text::grammar::schema {

std::optional<std::string> format_pattern(std::string_view format) {
  const std::string year = "(?:000[1-9]|00[1-9]\\d|0[1-9]\\d{2}|[1-9]\\d{3})";
  // The 29th of February is left out: it needs a leap year.
  const std::string day =
      "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|"
      "02-(?:0[1-9]|1\\d|2[0-8]))";
  const std::string date = year + "-" + day;
  const std::string time =
      "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
  const std::string byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
  const std::string group = "[0-9a-fA-F]{1,4}";
  const std::string label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
  const std::string host = label + "(?:\\." + label + "){0,6}";
  if (format == "date") return date;
  if (format == "time") return time;
  if (format == "date-time") return date + "T" + time;
  if (format == "uuid")
    return "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
  if (format == "ipv4") return "(?:" + byte + "\\.){3}" + byte;
  if (format == "hostname") return host;
  if (format == "email")
    return "[A-Za-z0-9_%+-]{1,32}(?:\\.[A-Za-z0-9_%+-]{1,16}){0,1}@" + label + "(?:\\." + label +
           "){1,3}";
  if (format == "uri")
    return "https?://" + host +
           "(?::[1-9]\\d{0,3})?(?:/[A-Za-z0-9._~-]*)*(?:\\?[A-Za-z0-9._~=&-]*)?";
  if (format == "ipv6") {
    std::string all = "(?:" + group + ":){7}" + group;
    for (int left = 0; left <= 6; ++left) {
      all += "|";
      if (left > 0) all += fmt::format("(?:{}:){{{}}}{}", group, left - 1, group);
      all += "::";
      const int right = 6 - left;
      if (right > 0) all += fmt::format("(?:{}(?::{}){{0,{}}})?", group, group, right - 1);
    }
    return "(?:" + all + ")";
  }
  if (format == "duration")
    return "P(?:\\d{1,4}W|(?:\\d{1,4}Y(?:\\d{1,4}M(?:\\d{1,4}D)?)?|\\d{1,4}M(?:\\d{1,4}D)?|"
           "\\d{1,4}D)(?:T\\d{1,4}[HMS])?|T(?:\\d{1,4}H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|"
           "\\d{1,4}M(?:\\d{1,4}S)?|\\d{1,4}S))";
  return std::nullopt;
}

}  // namespace altlas::text::grammar::schema
