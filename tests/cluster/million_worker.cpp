// A producer or a consumer of the million test, over the C++ client; million_worker.py does the same in Python.
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "dmq/client.hpp"

namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kBatch = 200;  // consecutive messages of a producer that share a queue
constexpr std::size_t kNameBytes = 8;

std::uint32_t queue_of(std::uint32_t counter, std::uint32_t queues) { return counter / kBatch % queues; }

std::string queue_name(std::uint32_t number) { return "million-" + std::to_string(number); }

// The rules of million_body.py.
std::string body_of(std::uint32_t producer, std::uint32_t counter) {
  const std::uint64_t start = (std::uint64_t{producer} * 31 + std::uint64_t{counter} * 13) % 251;
  const std::uint64_t size = std::uint64_t{counter} * 37 % 512;
  std::string body(kNameBytes + size, '\0');
  std::memcpy(body.data(), &producer, 4);
  std::memcpy(body.data() + 4, &counter, 4);
  for (std::uint64_t i = 0; i < size; ++i) body[kNameBytes + i] = static_cast<char>((start + i) * 7 % 251);
  return body;
}

bool is_intact(std::string_view body, std::uint32_t queue, std::uint32_t queues) {
  if (body.size() < kNameBytes) return false;
  std::uint32_t producer = 0;
  std::uint32_t counter = 0;
  std::memcpy(&producer, body.data(), 4);
  std::memcpy(&counter, body.data() + 4, 4);
  return queue_of(counter, queues) == queue && body == body_of(producer, counter);
}

void produce(dmq::Client& client, std::uint32_t queues, std::uint32_t producer, std::uint32_t count) {
  for (std::uint32_t counter = 0; counter < count; ++counter) {
    const bool last_of_batch = counter % kBatch == kBatch - 1 || counter + 1 == count;
    client.send_async(queue_name(queue_of(counter, queues)), body_of(producer, counter), {},
                      last_of_batch ? dmq::More::kNo : dmq::More::kYes);
  }
  client.flush();
}

class Consumer {
 public:
  Consumer(dmq::Client& client, std::uint32_t queues, const std::string& output)
      : client_(client), queues_(queues), output_(output, std::ios::binary) {}

  // One receive under way for each queue, until the standard input ends.
  void run(const std::vector<std::uint32_t>& numbers) {
    for (const std::uint32_t number : numbers) receive(number);
    std::uint64_t told = 0;
    while (under_way_ != 0) {
      client_.poll(milliseconds(50));
      if (told != acked_) std::cout << acked_ << std::endl;
      told = acked_;
    }
  }

 private:
  static bool input_ended() {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    return ::poll(&input, 1, 0) > 0;
  }
  void receive(std::uint32_t number) {
    if (input_ended()) return;
    dmq::ReceiveOptions options;
    options.max = 200;
    options.wait = milliseconds(1000);
    ++under_way_;
    client_.receive_async(queue_name(number), options, [this, number](dmq::ReceiveResult result) {
      --under_way_;
      if (result.failure) throw std::runtime_error("receive: " + result.failure->message);
      receive(number);
      take(number, result.leases);
    });
  }
  void take(std::uint32_t number, std::vector<dmq::Lease>& leases) {
    if (leases.empty()) return;
    for (const dmq::Lease& lease : leases) {
      std::array<char, kNameBytes> name;
      name.fill('\xff');
      if (is_intact(lease.body(), number, queues_)) std::memcpy(name.data(), lease.body().data(), kNameBytes);
      output_.write(name.data(), kNameBytes);
    }
    ++under_way_;
    client_.ack_async(leases, [this, count = leases.size()](const dmq::SettleResult& result) {
      --under_way_;
      if (result.failure || result.done != count) throw std::runtime_error("an ack was refused");
      acked_ += count;
    });
  }

  dmq::Client& client_;
  const std::uint32_t queues_;
  std::ofstream output_;
  std::uint64_t under_way_ = 0;
  std::uint64_t acked_ = 0;
};

std::uint32_t number_in(const std::string& text) { return static_cast<std::uint32_t>(std::stoul(text)); }

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 5) {
    std::cerr << "dmq-million-worker produce ENDPOINT QUEUES PRODUCER COUNT\n"
                 "dmq-million-worker consume ENDPOINT QUEUES OUTPUT QUEUE...\n";
    return 2;
  }
  try {
    dmq::ClientOptions options;
    options.endpoints = {words[1]};
    dmq::Client client(options);
    const std::uint32_t queues = number_in(words[2]);
    if (words[0] == "produce") {
      produce(client, queues, number_in(words[3]), number_in(words[4]));
      return 0;
    }
    std::vector<std::uint32_t> numbers;
    for (std::size_t i = 4; i < words.size(); ++i) numbers.push_back(number_in(words[i]));
    Consumer(client, queues, words[3]).run(numbers);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "dmq-million-worker: " << error.what() << std::endl;
    return 1;
  }
}
