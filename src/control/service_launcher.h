// Where the replicas of a service live.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "control/launcher.h"
#include "control/service.h"

namespace altlas::control {

// The launcher that the options name: their own one, threads of this process, or processes that
// connect by a socket in `folder`. `context` carries their links where the options have no context
// for that.
std::unique_ptr<Launcher> make_launcher(const ServiceOptions& options,
                                        boost::asio::io_context& context, std::string folder,
                                        LauncherCallbacks callbacks);

}  // namespace altlas::control
