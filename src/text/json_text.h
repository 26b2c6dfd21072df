// JSON values as text: what answers, streams and printed results are written with.
#pragma once

#include <string>

#include <boost/json/fwd.hpp>

namespace altlas::text {

// One line. Doubles in their shortest form that reads back the same ("0.25", "3.0", "1e-07"), never
// with an exponent where a person would write none; one that is not finite is null, since JSON has
// no word for it. Any thread. Recursion is as deep as the value.
std::string json_text(const boost::json::value& value);
std::string json_text(const boost::json::object& object);

}  // namespace altlas::text
