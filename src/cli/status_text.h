// The tables of `altlas status`, from the server's answers.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

namespace altlas::cli {

// Answers of /health, /api/v1/gpus, /api/v1/deployments and /api/v1/tasks. A field that is missing
// or of another type shows as "-".
struct StatusAnswers {
  const boost::json::object& health;
  const boost::json::object& gpus;
  const boost::json::object& deployments;
  const boost::json::object& tasks;
};
std::string status_text(const StatusAnswers& answers);
// "2 of at most 4 replicas wanted, by load": how many replicas a deployment is to have.
std::string replicas_text(const boost::json::object& deployment);

}  // namespace altlas::cli
