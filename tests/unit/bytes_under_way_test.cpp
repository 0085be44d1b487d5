// The count of bytes on their way to a worker: it holds its bound, and no order or loss of replies breaks it.
#include "router/bytes_under_way.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <random>

using dmq::BytesUnderWay;

namespace {

std::uint32_t send(BytesUnderWay& way, std::size_t bytes) {
  const std::uint32_t position = way.position_behind(bytes);
  way.sent(bytes);
  return position;
}

}  // namespace

TEST_CASE("what was sent is under way until it returns", "[router][bytes]") {
  BytesUnderWay way(100);
  const auto first = send(way, 60);
  const auto second = send(way, 30);
  CHECK(way.bytes() == 90);
  CHECK(way.has_room(10));
  CHECK_FALSE(way.has_room(11));
  way.returned(first);
  CHECK(way.bytes() == 30);
  CHECK(way.has_room(70));
  way.returned(second);
  CHECK(way.bytes() == 0);
}

TEST_CASE("a request over the bound is sent when it is alone", "[router][bytes]") {
  BytesUnderWay way(100);
  CHECK(way.has_room(1000));
  send(way, 1);
  CHECK_FALSE(way.has_room(1000));
}

TEST_CASE("a reply makes up for the replies before it that were lost", "[router][bytes]") {
  BytesUnderWay way(100);
  send(way, 40);
  send(way, 40);
  const auto last = send(way, 10);
  way.returned(last);
  CHECK(way.bytes() == 0);
}

TEST_CASE("a reply that is late or comes twice changes nothing", "[router][bytes]") {
  BytesUnderWay way(100);
  const auto first = send(way, 40);
  const auto second = send(way, 40);
  send(way, 10);
  way.returned(second);
  way.returned(first);
  way.returned(second);
  CHECK(way.bytes() == 10);
}

TEST_CASE("a reply of before a reset changes nothing", "[router][bytes]") {
  BytesUnderWay way(100);
  const auto old = send(way, 90);
  way.reset();
  CHECK(way.bytes() == 0);
  way.returned(old);
  CHECK(way.bytes() == 0);
  const auto fresh = send(way, 50);
  way.returned(old);
  CHECK(way.bytes() == 50);
  way.returned(fresh);
  CHECK(way.bytes() == 0);
}

TEST_CASE("a reply without a position changes nothing", "[router][bytes]") {
  BytesUnderWay way(100);
  send(way, 50);
  way.returned(BytesUnderWay::kNoPosition);
  CHECK(way.bytes() == 50);
}

TEST_CASE("positions that were never given out change nothing", "[router][bytes]") {
  BytesUnderWay way(100);
  send(way, 50);
  for (const std::uint32_t position : {51u, 1u << 31, 0xffffffffu}) way.returned(position);
  CHECK(way.bytes() == 50);
}

TEST_CASE("the count holds over many times 4 GiB", "[router][bytes]") {
  constexpr std::uint32_t kMax = 256 * 1024 * 1024;
  constexpr std::uint32_t kRequestMax = 33 * 1024 * 1024;
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 dice(seed);
  BytesUnderWay way(kMax);
  std::deque<std::pair<std::uint32_t, std::size_t>> requests;  // a worker that answers in order, and loses some replies
  std::size_t unread = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::size_t bytes = 1 + dice() % kRequestMax;
    if (way.has_room(bytes)) {
      requests.emplace_back(send(way, bytes), bytes);
      unread += bytes;
    } else {
      const auto [position, size] = requests.front();
      requests.pop_front();
      unread -= size;
      if (dice() % 4 != 0 || requests.empty()) way.returned(position);
    }
    REQUIRE(unread <= way.bytes());
    REQUIRE(way.bytes() <= kMax);
  }
}
