// Tests of the client against small servers of this file, plain and TLS, on loopback.
#include "client/client.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <filesystem>
#include <thread>

namespace altlas::client {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

struct Seen {
  std::string method, target, body, authorization, content_type;
};
// What the server does with a request: writes bytes as they are; "" closes the connection.
using Serve = std::function<std::vector<std::string>(const Seen&)>;

std::string reply(std::string_view status, std::string_view body, std::string_view more = "") {
  return "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(more) + "\r\n" + std::string(body);
}

// A self-signed certificate for 127.0.0.1 and its key, as PEM.
std::pair<std::string, std::string> make_certificate() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  X509_NAME* name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("altlas test"), -1, -1, 0);
  X509_set_issuer_name(cert, name);
  X509_EXTENSION* names =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  X509_add_ext(cert, names, -1);
  X509_EXTENSION_free(names);
  X509_sign(cert, key, EVP_sha256());
  const auto text_of = [](BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  };
  BIO* cert_bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(cert_bio, cert);
  BIO* key_bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(key_bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  X509_free(cert);
  EVP_PKEY_free(key);
  return {text_of(cert_bio), text_of(key_bio)};
}

// A server of one connection at a time, on a thread of its own, until it goes out of scope.
class TestServer {
 public:
  explicit TestServer(Serve serve, const std::pair<std::string, std::string>* pem = nullptr)
      : serve_(std::move(serve)),
        acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
    if (pem != nullptr) {
      tls_.emplace(asio::ssl::context::tls_server);
      tls_->use_certificate_chain(asio::buffer(pem->first));
      tls_->use_private_key(asio::buffer(pem->second), asio::ssl::context::pem);
    }
    thread_ = std::jthread([this] { run(); });
  }
  ~TestServer() {
    stopping_ = true;
    tcp::socket wake(io_);
    boost::system::error_code ignored;
    wake.connect(acceptor_.local_endpoint(), ignored);
  }
  std::string url() const {
    return (tls_ ? "https://127.0.0.1:" : "http://127.0.0.1:") +
           std::to_string(acceptor_.local_endpoint().port());
  }
  int connections() const { return connections_; }

 private:
  void run() {
    while (true) {
      boost::system::error_code error;
      tcp::socket socket(io_);
      acceptor_.accept(socket, error);
      if (stopping_ || error) return;
      ++connections_;
      if (tls_) {
        beast::ssl_stream<tcp::socket> stream(std::move(socket), *tls_);
        stream.handshake(asio::ssl::stream_base::server, error);
        if (!error) talk(stream);
        stream.shutdown(error);
      } else {
        talk(socket);
      }
    }
  }
  template <class Stream>
  void talk(Stream& stream) {
    beast::flat_buffer buffer;
    while (true) {
      boost::system::error_code error;
      http::request<http::string_body> request;
      http::read(stream, buffer, request, error);
      if (error) return;
      const auto text = [](beast::string_view view) {
        return std::string(view.data(), view.size());
      };
      Seen seen{text(request.method_string()), text(request.target()), request.body(),
                text(request[http::field::authorization]),
                text(request[http::field::content_type])};
      for (const std::string& bytes : serve_(seen)) {
        if (bytes.empty()) return;
        asio::write(stream, asio::buffer(bytes), error);
        if (error) return;
      }
    }
  }

  Serve serve_;
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::optional<asio::ssl::context> tls_;
  std::atomic<int> connections_{0};
  std::atomic<bool> stopping_{false};
  std::jthread thread_;
};

// Goal: method, path, body and key arrive; the answer comes back whole; one connection serves all.
// Method: echo server.
TEST(Client, RequestsOverOneConnection) {
  std::vector<Seen> seen;
  TestServer server([&seen](const Seen& request) {
    seen.push_back(request);
    return std::vector{reply("200 OK", "[" + request.body + "]", "X-Kind: echo\r\n")};
  });
  auto client = Client::connect(server.url() + "/base/", {.key = "secret"});
  ASSERT_TRUE(client.ok()) << client.error().message();
  for (int i = 0; i < 3; ++i) {
    const auto answer = client->post("/echo?x=1", "{\"i\":" + std::to_string(i) + "}");
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "[{\"i\":" + std::to_string(i) + "}]");
    EXPECT_EQ(answer->header("x-kind"), "echo");
  }
  ASSERT_TRUE(client->del("/api/v1/task/1").ok());
  EXPECT_EQ(server.connections(), 1);
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].target, "/base/echo?x=1");
  EXPECT_EQ(seen[0].authorization, "Bearer secret");
  EXPECT_EQ(seen[0].content_type, "application/json");
  EXPECT_EQ(seen[3].method, "DELETE");
}

// Goal: a connection that the server closed between requests is opened again. Method: a server that
// closes each time.
TEST(Client, ReconnectsAfterClose) {
  TestServer server(
      [](const Seen&) { return std::vector<std::string>{reply("200 OK", "ok"), ""}; });
  auto client = Client::connect(server.url(), {});
  ASSERT_TRUE(client.ok());
  for (int i = 0; i < 3; ++i) {
    const auto answer = client->post("/x", "{}");
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(answer->body, "ok");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // The close has arrived by then.
  }
  EXPECT_EQ(server.connections(), 3);
}

// Goal: events arrive one by one, refusals with their body. Method: chunks that cut events; a 429.
TEST(Client, Streams) {
  TestServer server([](const Seen& request) -> std::vector<std::string> {
    if (request.target == "/refused")
      return {reply("429 Too Many Requests", R"({"error": "the queue is full"})",
                    "Retry-After: 7\r\n")};
    const auto chunk = [](const std::string& text) {
      char size[16];
      std::snprintf(size, sizeof size, "%zx\r\n", text.size());
      return size + text + "\r\n";
    };
    return {
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunk("data: o"), chunk("ne\n\ndata: two\n"), chunk("\ndata: three\n\n"), "0\r\n\r\n"};
  });
  auto client = Client::connect(server.url(), {});
  ASSERT_TRUE(client.ok());
  std::vector<std::string> events;
  auto answer = client->stream("/s", "{}", [&events](const SseEvent& event) {
    events.push_back(event.data);
    return true;
  });
  ASSERT_TRUE(answer.ok()) << answer.error().message();
  EXPECT_EQ(events, (std::vector<std::string>{"one", "two", "three"}));
  answer = client->stream("/refused", "{}", [](const SseEvent&) { return true; });
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->status, 429);
  const Error error = error_of(*answer);
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "the queue is full (HTTP 429)");
  EXPECT_EQ(error.retry_after_ms(), 7000);
  EXPECT_EQ(server.connections(), 1);
  int heard = 0;
  answer = client->stream("/s", "{}", [&heard](const SseEvent&) { return ++heard < 2; });
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(heard, 2);
  EXPECT_TRUE(client->get("/refused").ok());
  EXPECT_EQ(server.connections(), 2);
}

// Goal: every fault is one clear error with host and port. Method: nobody listens; silence; a cut
// answer; no HTTP.
TEST(Client, Faults) {
  std::string url;
  {
    TestServer gone([](const Seen&) { return std::vector<std::string>{}; });
    url = gone.url();
  }
  const auto refused = Client::connect(url, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(refused.error().message().find(url.substr(7)), std::string::npos)
      << refused.error().message();
  EXPECT_NE(refused.error().message().find("altlas serve"), std::string::npos);

  TestServer server([](const Seen& request) -> std::vector<std::string> {
    if (request.target == "/silent") return {};
    if (request.target == "/cut") return {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", ""};
    return {"hello there\r\n\r\n", ""};
  });
  auto client = Client::connect(server.url(), {.timeout_ms = 200});
  ASSERT_TRUE(client.ok());
  const auto silent = client->get("/silent");
  ASSERT_FALSE(silent.ok());
  EXPECT_EQ(silent.error().code(), ErrorCode::kDeadline) << silent.error().message();
  const auto cut = client->get("/cut");
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error().code(), ErrorCode::kIo) << cut.error().message();
  const auto garbage = client->get("/garbage");
  ASSERT_FALSE(garbage.ok());
  EXPECT_EQ(garbage.error().code(), ErrorCode::kIo) << garbage.error().message();
}

// Goal: what can't be an address, a key or a path is refused before anything is sent. Method: a
// list of them.
TEST(Client, RefusesBadInput) {
  for (const char* url :
       {"", "127.0.0.1:8000", "ftp://x", "http://", "http://h:0", "http://h:70000", "http://h:x",
        "http://a@h", "http://h/?q=1", "http://h h"}) {
    const auto client = Client::connect(url, {});
    ASSERT_FALSE(client.ok()) << url;
    EXPECT_EQ(client.error().code(), ErrorCode::kInvalid)
        << url << ": " << client.error().message();
  }
  EXPECT_EQ(Client::connect("http://127.0.0.1:1", {.key = "a\r\nX: y"}).error().code(),
            ErrorCode::kInvalid);
  EXPECT_EQ(Client::connect("https://127.0.0.1:1", {.ca_file = "/nowhere.pem"}).error().code(),
            ErrorCode::kInvalid);
  TestServer server([](const Seen&) { return std::vector{reply("200 OK", "")}; });
  auto client = Client::connect(server.url(), {});
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(client->get("no-slash").error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(client->get("/a b").error().code(), ErrorCode::kInvalid);
  EXPECT_EQ(client->get("/a\r\nX: y").error().code(), ErrorCode::kInvalid);
}

// Goal: the server's certificate is verified, with our own authority or not at all if asked.
// Method: a self-signed one.
TEST(Client, Tls) {
  const auto pem = make_certificate();
  const std::string file = (std::filesystem::temp_directory_path() /
                            ("altlas-client-test-" + std::to_string(getpid()) + ".pem"))
                               .string();
  FILE* out = std::fopen(file.c_str(), "w");
  ASSERT_NE(out, nullptr);
  std::fputs(pem.first.c_str(), out);
  std::fclose(out);
  TestServer server([](const Seen&) { return std::vector{reply("200 OK", "private")}; }, &pem);
  const auto distrusted = Client::connect(server.url(), {});
  ASSERT_FALSE(distrusted.ok());
  EXPECT_EQ(distrusted.error().code(), ErrorCode::kUnavailable);
  EXPECT_NE(distrusted.error().message().find("not trusted"), std::string::npos)
      << distrusted.error().message();
  for (const Options& options : {Options{.ca_file = file}, Options{.insecure = true}}) {
    auto client = Client::connect(server.url(), options);
    ASSERT_TRUE(client.ok()) << client.error().message();
    for (int i = 0; i < 2; ++i) {
      const auto answer = client->get("/");
      ASSERT_TRUE(answer.ok()) << answer.error().message();
      EXPECT_EQ(answer->body, "private");
    }
  }
  EXPECT_EQ(server.connections(), 3);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace altlas::client
