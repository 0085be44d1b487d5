// The count of bytes that clients have not read: its bounds, and charges that end on another thread or after
// everything.
#include "router/unread_replies.hpp"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

using dmq::UnreadReplies;

TEST_CASE("a client is charged up to its bound", "[router][unread]") {
  UnreadReplies unread(100, 1000);
  const auto first = unread.charge("a", 60);
  const auto second = unread.charge("a", 40);
  CHECK(first != nullptr);
  CHECK(second != nullptr);
  CHECK(unread.bytes_of("a") == 100);
  CHECK_FALSE(unread.has_room("a", 1));
  CHECK(unread.charge("a", 1) == nullptr);
  CHECK(unread.bytes_of("a") == 100);
  CHECK(unread.charge("b", 100) != nullptr);
}

TEST_CASE("a charge ends when it is let go", "[router][unread]") {
  UnreadReplies unread(100, 1000);
  auto charge = unread.charge("a", 60);
  auto copy = charge;
  charge.reset();
  CHECK(unread.bytes() == 60);
  copy.reset();
  CHECK(unread.bytes() == 0);
  CHECK(unread.bytes_of("a") == 0);
  CHECK(unread.has_room("a", 100));
}

TEST_CASE("a single reply may be over a client's bound", "[router][unread]") {
  UnreadReplies unread(100, 1000);
  const auto charge = unread.charge("a", 500);
  CHECK(charge != nullptr);
  CHECK_FALSE(unread.has_room("a", 1));
}

TEST_CASE("all clients together are bounded, also those that have nothing", "[router][unread]") {
  UnreadReplies unread(100, 250);
  const std::vector charges = {unread.charge("a", 100), unread.charge("b", 100)};
  CHECK(unread.charge("c", 51) == nullptr);
  CHECK(unread.has_room("c", 51));  // it is not the client's own fault
  CHECK(unread.charge("c", 50) != nullptr);
}

TEST_CASE("clients that have read everything are forgotten", "[router][unread]") {
  UnreadReplies unread(100, 1'000'000);
  std::vector<UnreadReplies::Charge> kept;
  for (int i = 0; i < 10'000; ++i) {
    const auto charge = unread.charge("client " + std::to_string(i), 10);
    if (i % 100 == 0) kept.push_back(charge);
  }
  CHECK(unread.bytes() == 10 * kept.size());
  CHECK(unread.clients() >= kept.size());
  CHECK(unread.clients() <= 2 * kept.size() + 64);
  CHECK(unread.bytes_of("client 0") == 10);
}

TEST_CASE("charges end on other threads, and after the count itself", "[router][unread]") {
  auto unread = std::make_unique<UnreadReplies>(1000, 1'000'000);
  std::vector<UnreadReplies::Charge> charges;
  for (int i = 0; i < 1000; ++i) charges.push_back(unread->charge(std::to_string(i % 10), 10));
  std::thread half([given = std::vector(charges.begin(), charges.begin() + 500)]() mutable { given.clear(); });
  charges.erase(charges.begin(), charges.begin() + 500);
  half.join();
  CHECK(unread->bytes() == 5000);
  unread.reset();
  std::thread rest([given = std::move(charges)]() mutable { given.clear(); });
  rest.join();
}
