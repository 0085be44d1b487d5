// A whole dmq broker inside your process: for test harnesses and for programs that want their own queue.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace dmq {

struct BrokerOptions {
  // Where clients connect to; with port * the system chooses one, see Broker::endpoint().
  std::string listen = "tcp://127.0.0.1:*";
  // Where administrators connect to (queue.delete); empty: nowhere.
  std::string admin = "tcp://127.0.0.1:*";
  // The store. Empty: a temporary one, removed with the broker.
  std::string data_dir;
  // When a confirmed message is on disk: "commit" (before the confirmation), "interval" (within a second), "none".
  std::string sync = "commit";
  // Threads that store messages, each with its own files; queues are spread over them. At least 1. A store keeps the
  // workers that it was made with: fewer than before are refused.
  unsigned workers = 1;
  // How many workers keep each message; two must be in sync where there are three or more. On one disk that helps
  // against nothing but a bug: it is for tests of programs. Counts at the first start of a store only.
  unsigned replicas = 1;
  // How many parts the queues are spread over. Counts at the first start of a store only.
  std::uint16_t partitions = 64;
  // Sends are refused when the messages of one worker take more bytes than this.
  std::uint64_t store_limit = std::uint64_t{16} << 30;
  // A producer that is silent so long is forgotten, and with it what it sent before.
  std::int64_t producer_idle_ms = 3600 * 1000;
  // A store whose pages are damaged is refused, unless what of it can be read shall be served. Make a copy before.
  bool accept_damage = false;
  bool auto_create = true;    // send and receive create a queue on first use
  bool allow_delete = false;  // queue.delete on the clients' socket too
};

// What went wrong at the start, in a sentence for a person.
class BrokerError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// RAII: the constructor returns when the broker serves clients; the destructor commits what was taken, answers and
// ends. Any number live in one process; each has its own ZeroMQ context and threads. Thread-safe but for destruction.
//
//   dmq::Broker broker;                      // a free port, a temporary store
//   my_program.connect(broker.endpoint());   // "tcp://127.0.0.1:40123"
class Broker {
 public:
  // Throws BrokerError: the directory is in use, the port is taken, an option is wrong, the disk fails.
  explicit Broker(BrokerOptions options = {});
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  const std::string& endpoint() const;        // of clients
  const std::string& admin_endpoint() const;  // empty: none
  const std::string& data_dir() const;
  std::uint64_t messages_found() const;  // in the store at the start

  // Readable when a part ended by a fault of the disk; then failure() tells which.
  int failure_fd() const;
  std::string failure() const;  // empty: none

  // Ends early; the destructor does the same. Calling it again does nothing.
  void stop();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace dmq
