#include "control/service_launcher.h"

#include <utility>

namespace altlas::control {

std::unique_ptr<Launcher> make_launcher(const ServiceOptions& options,
                                        boost::asio::io_context& context, std::string folder,
                                        LauncherCallbacks callbacks) {
  if (options.launcher) return options.launcher(std::move(callbacks));
  if (options.in_process_workers) return make_inprocess_launcher(std::move(callbacks));
  return make_process_launcher(options.links != nullptr ? *options.links : context,
                               std::move(folder), std::move(callbacks), options.nodes);
}

}  // namespace altlas::control
