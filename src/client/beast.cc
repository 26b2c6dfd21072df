// Boost.Beast and Asio's TLS, compiled once; a program that links `server` too takes only one of
// the two objects.
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
