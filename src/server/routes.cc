#include "server/routes.h"

namespace altlas::server {

const std::vector<Route>& routes() {
  static const std::vector<Route> table = [] {
    std::vector<Route> all;
    for (const auto& part :
         {task_routes(), device_routes(), llm_routes(), openai_routes(), adapter_routes(),
          tokenize_routes(), embedding_routes(), file_routes(), batch_routes(), dashboard_routes(),
          system_routes()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return table;
}

}  // namespace altlas::server
