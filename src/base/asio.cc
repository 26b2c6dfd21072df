// Boost.Asio with its TLS, and Beast, compiled once for all rooms (both with separate compilation).
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
