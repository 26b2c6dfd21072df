// The compiled part of Asio (BOOST_ASIO_SEPARATE_COMPILATION), once for the whole program; nothing else belongs here.
#include <boost/asio/impl/src.hpp>
