#include "collective/stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace altlas::collective {
namespace {

static_assert(POLLIN == 1 && POLLOUT == 4);

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL: the end of another rank would end this
// process.
int bio_write(BIO* bio, const char* from, int size) {
  const auto fd = static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
  const ssize_t moved = ::send(fd, from, static_cast<size_t>(size), MSG_NOSIGNAL);
  BIO_clear_retry_flags(bio);
  if (moved < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(moved);
}
int bio_read(BIO* bio, char* to, int size) {
  const auto fd = static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
  const ssize_t moved = ::recv(fd, to, static_cast<size_t>(size), 0);
  BIO_clear_retry_flags(bio);
  if (moved < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(moved);
}
long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* bio_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "altlas socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

Error closed() { return unavailable("the connection ended"); }

Error tls_error(long verified) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* const words = code == 0 ? nullptr : ERR_reason_error_string(code);
  if (verified != X509_V_OK)
    return Error(ErrorCode::kUnauthorized,
                 fmt::format("the other side's certificate is not trusted: {}",
                             X509_verify_cert_error_string(verified)));
  if (words == nullptr) return closed();
  const std::string_view said = words;
  if (said.find("alert") != said.npos || said.find("certificate") != said.npos)
    return Error(
        ErrorCode::kUnauthorized,
        fmt::format("the other side refused this side's certificate, or showed none: {}", said));
  return Error(ErrorCode::kUnauthorized, fmt::format("the other side speaks no TLS: {}", said));
}

}  // namespace

void Stream::FreeTls::operator()(ssl_st* tls) const { SSL_free(tls); }

Stream::Stream(Fd fd, const TlsIdentity* identity, TlsSide side) : fd_(std::move(fd)) {
  ::fcntl(fd_.get(), F_SETFL, ::fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (identity == nullptr) return;
  tls_.reset(SSL_new(identity->context()));
  BIO* const bio = BIO_new(bio_method());
  ALTLAS_CHECK(tls_ && bio != nullptr, "OpenSSL has memory");
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd_.get())));
  BIO_set_init(bio, 1);
  SSL_set_bio(tls_.get(), bio, bio);
  side == TlsSide::kClient ? SSL_set_connect_state(tls_.get()) : SSL_set_accept_state(tls_.get());
}

void Stream::expect_host(const std::string& host) {
  if (!tls_) return;
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(tls_.get());
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) != 1)
    X509_VERIFY_PARAM_set1_host(wanted, host.data(), host.size());
}

bool Stream::is_ready() const { return !tls_ || SSL_is_init_finished(tls_.get()) == 1; }

std::string Stream::peer_name() const {
  X509* const shown = tls_ ? SSL_get0_peer_certificate(tls_.get()) : nullptr;
  char text[256] = "";
  if (shown != nullptr)
    X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, text, sizeof(text));
  return text;
}

Result<size_t> Stream::tls_result(int returned, short& waits_for) {
  if (returned > 0) return static_cast<size_t>(returned);
  const int kind = SSL_get_error(tls_.get(), returned);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
    waits_for = kind == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    return size_t{0};
  }
  if (kind == SSL_ERROR_ZERO_RETURN) return closed();
  if (kind == SSL_ERROR_SYSCALL && SSL_get_verify_result(tls_.get()) == X509_V_OK) {
    ERR_clear_error();
    return closed();
  }
  return tls_error(SSL_get_verify_result(tls_.get()));
}

Result<size_t> Stream::read_some(std::span<std::byte> to) {
  const size_t size = std::min<size_t>(to.size(), 1 << 30);
  if (size == 0) return size_t{0};
  if (tls_) {
    ERR_clear_error();
    return tls_result(SSL_read(tls_.get(), to.data(), static_cast<int>(size)), read_waits_for_);
  }
  const ssize_t moved = ::recv(fd_.get(), to.data(), size, 0);
  if (moved > 0) return static_cast<size_t>(moved);
  if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return size_t{0};
  return closed();
}

Result<size_t> Stream::write_some(std::span<const std::byte> from) {
  const size_t size = std::min<size_t>(from.size(), 1 << 30);
  if (size == 0) return size_t{0};
  if (tls_) {
    ERR_clear_error();
    return tls_result(SSL_write(tls_.get(), from.data(), static_cast<int>(size)), write_waits_for_);
  }
  const ssize_t moved = ::send(fd_.get(), from.data(), size, MSG_NOSIGNAL);
  if (moved >= 0) return static_cast<size_t>(moved);
  if (errno == EAGAIN || errno == EINTR) return size_t{0};
  return closed();
}

template <class Step>
Result<void> Stream::repeat(size_t size, const short& waits_for, Deadline deadline,
                            const Step& step) {
  for (size_t done = 0; done < size;) {
    ALTLAS_TRY(const size_t moved, step(done));
    done += moved;
    if (moved > 0) continue;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return Error(ErrorCode::kDeadline, "the other side did not answer within the timeout");
    pollfd waiting{fd_.get(), waits_for, 0};
    ::poll(&waiting, 1, static_cast<int>(std::min<int64_t>(left.count(), 1'000'000)));
  }
  return {};
}

Result<void> Stream::read_all(std::span<std::byte> to, Deadline deadline) {
  return repeat(to.size(), read_waits_for_, deadline,
                [&](size_t done) { return read_some(to.subspan(done)); });
}

Result<void> Stream::write_all(std::span<const std::byte> from, Deadline deadline) {
  return repeat(from.size(), write_waits_for_, deadline,
                [&](size_t done) { return write_some(from.subspan(done)); });
}

}  // namespace altlas::collective
