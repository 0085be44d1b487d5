// See spread.hpp.
#include "router/spread.hpp"

#include <algorithm>
#include <cstring>

#include "protocol/browse.hpp"
#include "protocol/limits.hpp"
#include "protocol/merge.hpp"
#include "protocol/parts.hpp"

namespace dmq {
namespace {

constexpr std::string_view kAddressStart{"\0dmq", 4};
constexpr DurationMs kPatience{60'000};   // with a reply that does not come; clients have less
constexpr DurationMs kOneByOneWait{100};  // with each part in turn, where all cannot be waited for together
constexpr DurationMs kForgetEvery{1000};
constexpr DurationMs kNoWait{0};

// Of what names no part of the queue, the first one says what is wrong with it.
std::uint16_t part_there(std::optional<PartitionId> place, const QueueInfo& queue, std::uint16_t partitions) {
  return place ? part_at(queue, *place, partitions).value_or(0) : std::uint16_t{0};
}

std::uint16_t part_of_receipt(std::string_view text, const QueueInfo& queue, std::uint16_t partitions) {
  const auto receipt = parse_receipt(text);
  return part_there(receipt ? std::optional(receipt->partition) : std::nullopt, queue, partitions);
}

std::uint16_t part_of_cursor(std::string_view text, const QueueInfo& queue, std::uint16_t partitions) {
  const auto cursor = parse_cursor(text);
  return part_there(cursor ? std::optional(cursor->partition) : std::nullopt, queue, partitions);
}

std::uint16_t part_of_id(std::string_view text, const QueueInfo& queue, std::uint16_t partitions) {
  for (std::uint16_t part = 0; part < queue.settings.partitions; ++part) {
    if (parse_message_id(text, place_of_part(queue, part, partitions))) return part;
  }
  return 0;
}

Error too_many() {
  return {Errc::kUnavailable, "too many requests to queues of several partitions are under way; try again"};
}

}  // namespace

std::string Spread::part_address(std::uint64_t ticket, std::uint16_t part) {
  std::string out(kAddressStart);
  out.append(reinterpret_cast<const char*>(&ticket), sizeof ticket);
  out.append(reinterpret_cast<const char*>(&part), sizeof part);
  return out;
}

std::optional<Spread::PartAddress> Spread::parse_part_address(std::string_view routing_id) {
  PartAddress address{};
  if (routing_id.size() != kAddressStart.size() + sizeof address.ticket + sizeof address.part) return std::nullopt;
  if (!routing_id.starts_with(kAddressStart)) return std::nullopt;
  std::memcpy(&address.ticket, routing_id.data() + kAddressStart.size(), sizeof address.ticket);
  std::memcpy(&address.part, routing_id.data() + kAddressStart.size() + sizeof address.ticket, sizeof address.part);
  return address;
}

Spread::Begun Spread::begin(const ClientAddress& client, std::string_view header_bytes, const RequestHeader& header,
                            std::string_view payload, const QueueInfo& queue, std::uint16_t partitions, TimeMs now) {
  if (under_way_.size() >= kSpreadMax) return too_many();
  UnderWay under_way;
  under_way.op = header.op;
  under_way.client = client;
  under_way.queue = queue.name;
  under_way.header = header_bytes;
  under_way.parts = queue.settings.partitions;
  under_way.until = now + header.wait_ms.value_or(kNoWait);
  under_way.forget_at = under_way.until + kPatience;
  switch (header.op) {
    case Op::kSend:
      return begin_send(header, payload, queue, std::move(under_way));
    case Op::kAck:
    case Op::kNack:
    case Op::kExtend:
      return begin_settle(payload, queue, partitions, std::move(under_way));
    case Op::kReceive:
      under_way.one_by_one = header.ack_on_delivery;
      return begin_receive(std::move(under_way), now);
    case Op::kSubscribe:
      return subscribe(header, queue.settings.partitions);
    case Op::kBrowse:  // a page of one part after the other, like the next
      return Through{part_of_cursor(header.after, queue, partitions)};
    case Op::kQueueRedrive:
      return Through{part_of_id(header.after, queue, partitions)};
    default:
      return tell_all(std::move(under_way), payload);
  }
}

Spread::Step Spread::start(UnderWay under_way, std::vector<Part> asks) {
  Step step;
  step.ticket = ++last_ticket_;
  step.queue = under_way.queue;
  step.asks = std::move(asks);
  under_way.waiting = step.asks.size();
  under_way_.emplace(step.ticket, std::move(under_way));
  return step;
}

// --- items that are shared out ---------------------------------------------------------------------------------------

Spread::Begun Spread::begin_send(const RequestHeader& header, std::string_view payload, const QueueInfo& queue,
                                 UnderWay under_way) {
  const QueueSettings& settings = queue.settings;
  if (header.partition) {
    if (*header.partition < settings.partitions) return Through{static_cast<std::uint16_t>(*header.partition)};
    return Error{Errc::kInvalidArgument, "the queue has " + std::to_string(settings.partitions) +
                                             " partitions: `partition` is from 0 to " +
                                             std::to_string(settings.partitions - 1)};
  }
  // What cannot be read, a worker says better.
  if (!decode_send(payload, reader_, items_)) return Through{};
  const bool named = !header.producer.empty();
  const auto any =
      named ? part_of_word(header.producer, settings) : static_cast<std::uint16_t>(turn_++ % settings.partitions);
  std::optional<std::uint16_t> of_keys;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const SendItem& item = items_[i];
    const bool keyed = !item.key.empty();
    const std::uint16_t part = keyed                            ? part_of_key(ordering_key(item.key), settings)
                               : !item.options.dedup_id.empty() ? part_of_word(item.options.dedup_id, settings)
                                                                : any;
    if (named && keyed && of_keys.value_or(part) != part) {
      return Error{Errc::kInvalidArgument,
                   "the keys of these messages belong into different partitions of the queue; a producer counts for "
                   "each: send them apart, each with its `partition`"};
    }
    if (keyed) of_keys = part;
    under_way.places[part].push_back(i);
  }
  if (named) return Through{of_keys.value_or(any)};  // a sequence is taken whole
  if (under_way.places.size() == 1) return Through{under_way.places.begin()->first};
  const auto items = split_array(payload);
  if (!items || items->size() != items_.size()) return Through{};
  return share_out(std::move(under_way), *items);
}

Spread::Begun Spread::begin_settle(std::string_view payload, const QueueInfo& queue, std::uint16_t partitions,
                                   UnderWay under_way) {
  if (!decode_receipts(payload, reader_, receipts_)) return Through{};
  for (std::size_t i = 0; i < receipts_.size(); ++i)
    under_way.places[part_of_receipt(receipts_[i], queue, partitions)].push_back(i);
  if (under_way.places.size() == 1) return Through{under_way.places.begin()->first};
  const auto items = split_array(payload);
  if (!items || items->size() != receipts_.size()) return Through{};
  return share_out(std::move(under_way), *items);
}

Spread::Begun Spread::share_out(UnderWay under_way, const std::vector<std::string_view>& items) {
  std::vector<Part> asks;
  for (const auto& [part, places] : under_way.places) {
    std::vector<std::string> share;
    for (const std::size_t place : places) share.emplace_back(items[place]);
    asks.push_back({part, under_way.header, join_array(share)});
  }
  return start(std::move(under_way), std::move(asks));
}

Spread::Begun Spread::tell_all(UnderWay under_way, std::string_view payload) {
  std::vector<Part> asks;
  for (std::uint16_t part = 0; part < under_way.parts; ++part)
    asks.push_back({part, under_way.header, std::string(payload)});
  return start(std::move(under_way), std::move(asks));
}

// Each part has a share of the credit, but at least one message: so up to one for each part may be too many.
Spread::Copies Spread::subscribe(const RequestHeader& header, std::uint16_t parts) {
  RequestHeader share = header;
  const std::uint64_t credit = header.credit.value_or(kCreditDefault);
  share.credit = credit == 0 ? 0 : std::max<std::uint64_t>(credit / parts, 1);
  share.credit_bytes =
      std::max<std::uint64_t>((header.credit_bytes == 0 ? kCreditBytesDefault : header.credit_bytes) / parts, 1);
  const std::string encoded = encode_request_header(share);
  Copies copies;
  for (std::uint16_t part = 0; part < parts; ++part) copies.parts.push_back({part, encoded, {}});
  return copies;
}

// --- receive ---------------------------------------------------------------------------------------------------------

Spread::Begun Spread::begin_receive(UnderWay under_way, TimeMs now) {
  under_way.first = static_cast<std::uint16_t>(turn_++ % under_way.parts);
  const std::uint64_t ticket = start(std::move(under_way), {}).ticket;
  return ask_next(ticket, under_way_.at(ticket), now);
}

// The request of a client, for one part, with another wait. Its name lets it be ended.
Spread::Part Spread::receive_from(std::uint64_t ticket, const UnderWay& under_way, std::uint16_t part,
                                  DurationMs wait) {
  const auto decoded = decode_request_header(under_way.header, reader_, again_);
  if (!decoded) return {part, under_way.header, {}};
  const std::string name = wait_name(ticket);
  again_.wait_ms = wait;
  again_.subscription = wait.value > 0 ? std::string_view(name) : std::string_view();
  return {part, encode_request_header(again_), {}};
}

Spread::Step Spread::ask_next(std::uint64_t ticket, UnderWay& under_way, TimeMs now) {
  const auto part = static_cast<std::uint16_t>((under_way.first + under_way.asked) % under_way.parts);
  ++under_way.asked;
  under_way.waiting = 1;
  const DurationMs left = under_way.until - now;
  const bool waits = under_way.one_by_one && left.value > 0;
  Step step;
  step.ticket = ticket;
  step.queue = under_way.queue;
  step.asks.push_back(receive_from(ticket, under_way, part, waits ? std::min(left, kOneByOneWait) : kNoWait));
  return step;
}

Spread::Step Spread::wait_for_all(std::uint64_t ticket, UnderWay& under_way, TimeMs now) {
  under_way.together = true;
  under_way.waiting = under_way.parts;
  Step step;
  step.ticket = ticket;
  step.queue = under_way.queue;
  for (std::uint16_t part = 0; part < under_way.parts; ++part)
    step.asks.push_back(receive_from(ticket, under_way, part, under_way.until - now));
  return step;
}

// Their answers to that are of a ticket that is forgotten.
std::vector<Spread::Part> Spread::stop_waiting(std::uint64_t ticket, const UnderWay& under_way, std::uint16_t but) {
  const std::string name = wait_name(ticket);
  RequestHeader header;
  header.op = Op::kUnsubscribe;
  header.queue = under_way.queue;
  header.subscription = name;
  const std::string encoded = encode_request_header(header);
  std::vector<Part> asks;
  for (std::uint16_t part = 0; part < under_way.parts; ++part) {
    if (part != but && !under_way.replies.contains(part)) asks.push_back({part, encoded, {}});
  }
  return asks;
}

Spread::Step Spread::on_receive_reply(std::uint64_t ticket, UnderWay& under_way, std::string_view header,
                                      bool has_messages, TimeMs now) {
  Step step;
  step.ticket = ticket;
  step.queue = under_way.queue;
  if (has_messages) {
    step.answer = Answer{under_way.client, std::string(header), {}, true};
    return step;
  }
  if (--under_way.waiting > 0) return step;
  const bool round_is_over = under_way.together || under_way.asked == under_way.parts;
  if (!round_is_over) return ask_next(ticket, under_way, now);
  const auto said =
      std::find_if(under_way.replies.begin(), under_way.replies.end(), [](const auto& each) { return each.second.ok; });
  const bool any_waits = said != under_way.replies.end();  // where no part can be reached, nobody would ever wait
  const bool waits = any_waits && !under_way.together && now < under_way.until;
  if (waits && under_way.one_by_one) {
    under_way.asked = 0;
    under_way.replies.clear();
    return ask_next(ticket, under_way, now);
  }
  if (waits) {
    under_way.replies.clear();
    return wait_for_all(ticket, under_way, now);
  }
  // Nothing anywhere; an error only when no part could say so.
  Reply& reply = (said == under_way.replies.end() ? under_way.replies.begin() : said)->second;
  step.answer = Answer{under_way.client, std::move(reply.header), std::move(reply.payload), false};
  return step;
}

// --- replies ---------------------------------------------------------------------------------------------------------

Spread::Step Spread::on_reply(std::uint64_t ticket, std::uint16_t part, std::string_view header,
                              std::string_view payload, TimeMs now) {
  Step step;
  const auto found = under_way_.find(ticket);
  if (found == under_way_.end()) {
    step.give_back = true;
    return step;
  }
  UnderWay& under_way = found->second;
  const auto decoded = decode_reply_header(header, reader_);
  const bool ok = decoded && decoded->code == Errc::kOk;
  if (under_way.op == Op::kReceive) {
    const bool has_messages = ok && !payload.empty() && !is_empty_array(payload);
    under_way.replies[part] = {std::string(header), has_messages ? std::string() : std::string(payload), ok};
    step = on_receive_reply(ticket, under_way, header, has_messages, now);
    if (step.answer) {
      if (has_messages && under_way.together) step.asks = stop_waiting(ticket, under_way, part);
      under_way_.erase(found);
    }
    return step;
  }
  under_way.replies[part] = {std::string(header), std::string(payload), ok};
  if (--under_way.waiting > 0) return step;
  step.answer = conclude(under_way);
  under_way_.erase(found);
  return step;
}

Spread::Answer Spread::conclude(UnderWay& under_way) {
  const auto& replies = under_way.replies;
  const auto is_ok = [](const auto& each) { return each.second.ok; };
  const bool shared = !under_way.places.empty();
  const auto failed = std::find_if_not(replies.begin(), replies.end(), is_ok);
  const auto good = std::find_if(replies.begin(), replies.end(), is_ok);
  // Where all are asked for the same, it succeeds with all of them.
  const bool fails = shared ? good == replies.end() : failed != replies.end();
  if (fails) return {under_way.client, failed->second.header, {}, false};
  if (shared) return {under_way.client, good->second.header, join_results(under_way), false};
  std::vector<std::string> maps;
  for (const auto& [part, reply] : replies) {
    if (!reply.payload.empty()) maps.push_back(reply.payload);
  }
  return {under_way.client, good->second.header, maps.empty() ? std::string() : merge_counts(maps), false};
}

// What the reply says of all items of its part, as the result of one.
std::string Spread::item_error(std::string_view header) {
  const auto decoded = decode_reply_header(header, reader_);
  const bool says = decoded && decoded->code != Errc::kOk;
  ResultWriter one(1);
  one.error(says ? Error{decoded->code, decoded->message} : Error{Errc::kInternal, "a worker's reply cannot be read"});
  const std::string written = one.finish();
  return std::string(split_array(written)->front());
}

// A part that failed as a whole fails each of its items.
std::string Spread::join_results(UnderWay& under_way) {
  std::size_t count = 0;
  for (const auto& [part, places] : under_way.places) count += places.size();
  std::vector<std::string> results(count);
  for (const auto& [part, places] : under_way.places) {
    const Reply& reply = under_way.replies.at(part);
    const auto items = reply.ok ? split_array(reply.payload) : std::nullopt;
    const std::string error = items && items->size() == places.size() ? "" : item_error(reply.header);
    for (std::size_t i = 0; i < places.size(); ++i)
      results[places[i]] = error.empty() ? std::string((*items)[i]) : error;
  }
  return join_array(results);
}

void Spread::forget(TimeMs now) {
  if (now < forget_due_) return;  // each look costs all that are under way
  forget_due_ = now + kForgetEvery;
  std::erase_if(under_way_, [now](const auto& each) { return each.second.forget_at <= now; });
}

}  // namespace dmq
