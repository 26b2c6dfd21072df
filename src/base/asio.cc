// Boost.Asio, its TLS and Beast, compiled once for all rooms (BOOST_ASIO_SEPARATE_COMPILATION and
// Beast's likewise).
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
