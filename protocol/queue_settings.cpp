// Each setting of a queue: its name, what it may be, and its place.
#include "protocol/queue_settings.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <type_traits>

#include "protocol/catalog_records.hpp"
#include "protocol/enum_names.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kSettingsLimits{.array_items = 16, .map_keys = 64, .string_bytes = 1024, .binary_bytes = 1024};

struct Setting {
  std::string_view key;
  bool always;  // written also when it is its default
  std::function<bool(const QueueSettings&)> is_default;
  std::function<void(const QueueSettings&, Packer&)> pack;
  std::function<Result<void>(const msgpack::object&, QueueSettings&)> read;  // Errors: invalid_argument
};

const QueueSettings kDefaults;

tl::unexpected<Error> bad(std::string_view key, std::string_view what) {
  return fail(Errc::kInvalidArgument, "`" + std::string(key) + "` must be " + std::string(what));
}

template <class Number>
std::uint64_t number_of(const Number& value) {
  if constexpr (std::is_integral_v<Number>) {
    return value;
  } else {
    return static_cast<std::uint64_t>(value.value);
  }
}

template <class Number>
void set_number(Number& place, std::uint64_t value) {
  if constexpr (std::is_integral_v<Number>) {
    place = static_cast<Number>(value);
  } else {
    place.value = static_cast<std::int64_t>(value);
  }
}

constexpr bool kAlways = true;

// `place` gives the number in the settings.
template <class Place>
Setting number(std::string_view key, std::uint64_t least, std::uint64_t most, Place place, bool always = false) {
  return {key, always,
          [place](const QueueSettings& settings) { return number_of(place(settings)) == number_of(place(kDefaults)); },
          [place](const QueueSettings& settings, Packer& packer) { packer.number(number_of(place(settings))); },
          [=](const msgpack::object& value, QueueSettings& out) -> Result<void> {
            const auto given = as_number(value);
            if (!given || *given < least || *given > most) {
              return bad(key, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
            }
            set_number(place(out), *given);
            return {};
          }};
}

template <class Place>
Setting flag(std::string_view key, Place place) {
  return {key, false, [place](const QueueSettings& settings) { return !place(settings); },
          [place](const QueueSettings& settings, Packer& packer) { packer.boolean(place(settings)); },
          [=](const msgpack::object& value, QueueSettings& out) -> Result<void> {
            if (value.type != msgpack::type::BOOLEAN) return bad(key, "true or false");
            place(out) = value.via.boolean;
            return {};
          }};
}

Result<void> read_backoff(const msgpack::object& value, QueueSettings& out) {
  const auto backoff = value_named<Backoff>(kBackoffNames, as_text(value).value_or(""));
  if (!backoff) return bad("retry_backoff", R"("fixed", "linear" or "exponential")");
  out.retry.backoff = *backoff;
  return {};
}

Result<void> read_when_full(const msgpack::object& value, QueueSettings& out) {
  const auto when_full = value_named<WhenFull>(kWhenFullNames, as_text(value).value_or(""));
  if (!when_full) return bad("when_full", R"("reject", "drop_oldest" or "dead_letter")");
  out.limits.when_full = *when_full;
  return {};
}

Result<void> read_dedup(const msgpack::object& value, QueueSettings& out) {
  const auto mode = value_named<DedupMode>(kDedupModeNames, as_text(value).value_or(""));
  if (!mode) return bad("dedup", R"("window", "while_present" or "replace")");
  out.dedup.mode = *mode;
  return {};
}

Result<void> read_confirm(const msgpack::object& value, QueueSettings& out) {
  const auto confirmation = confirmation_from_name(as_text(value).value_or(""));
  if (!confirmation) return bad("confirm", R"("in_sync" or "leader")");
  out.confirm = *confirmation;
  return {};
}

Result<void> read_dead_letter(const msgpack::object& value, QueueSettings& out) {
  if (value.type == msgpack::type::NIL) {
    out.dead_letter.clear();
    return {};
  }
  const auto name = as_text(value);
  if (!name) return bad("dead_letter", "the name of a queue, or nil");
  if (auto good = check_queue_name(*name); !good) {
    return fail(Errc::kInvalidArgument, "`dead_letter`: " + good.error().context);
  }
  out.dead_letter = *name;
  return {};
}

Result<void> read_owner(const msgpack::object& value, QueueSettings& out) {
  const auto text = as_text(value);
  if (!text || text->size() > kMessageLabelBytesMax || !is_clean_utf8(*text)) {
    return bad("owner", "up to 255 bytes of UTF-8 without control characters");
  }
  out.owner = *text;
  return {};
}

Result<void> read_weights(const msgpack::object& value, QueueSettings& out) {
  PriorityWeights weights{};
  const auto wrong = [] { return bad("priority_weights", "10 integers from 1 to 100, priority 0 first, or nil"); };
  if (value.type == msgpack::type::NIL) {
    out.priority_weights = weights;
    return {};
  }
  if (value.type != msgpack::type::ARRAY || value.via.array.size != kPriorities) return wrong();
  for (std::uint32_t i = 0; i < kPriorities; ++i) {
    const auto weight = as_number(value.via.array.ptr[i]);
    if (!weight || *weight < 1 || *weight > kPriorityWeightMax) return wrong();
    weights[i] = static_cast<std::uint8_t>(*weight);
  }
  out.priority_weights = weights;
  return {};
}

void pack_weights(const QueueSettings& settings, Packer& packer) {
  packer.array(kPriorities);
  for (const std::uint8_t weight : settings.priority_weights) packer.number(weight);
}

constexpr auto kYear = static_cast<std::uint64_t>(kRetryDelayMost.value);

const std::array<Setting, 24> kSettings{{
    number(
        "lease_ms", kLeaseMsMin, kLeaseMsMax, [](auto& settings) -> auto& { return settings.lease_ms; }, kAlways),
    {"confirm", true, [](const QueueSettings& settings) { return settings.confirm == kDefaults.confirm; },
     [](const QueueSettings& settings, Packer& packer) { packer.text(confirmation_name(settings.confirm)); },
     read_confirm},
    number(
        "delay_ms", 0, kNumberMax, [](auto& settings) -> auto& { return settings.delay_ms; }),
    number(
        "ttl_ms", 0, kNumberMax, [](auto& settings) -> auto& { return settings.ttl_ms; }),
    flag(
        "pause_send", [](auto& settings) -> auto& { return settings.pause_send; }),
    flag(
        "pause_receive", [](auto& settings) -> auto& { return settings.pause_receive; }),
    {"priority_weights", false,
     [](const QueueSettings& settings) { return settings.priority_weights == kDefaults.priority_weights; },
     pack_weights, read_weights},
    number(
        "max_deliveries", 0, kMaxDeliveriesMost, [](auto& settings) -> auto& { return settings.retry.max_deliveries; }),
    {"retry_backoff", false, [](const QueueSettings& settings) { return settings.retry.backoff == Backoff::kFixed; },
     [](const QueueSettings& settings, Packer& packer) { packer.text(name_of(kBackoffNames, settings.retry.backoff)); },
     read_backoff},
    number(
        "retry_delay_ms", 0, kYear, [](auto& settings) -> auto& { return settings.retry.delay_ms; }),
    number(
        "retry_delay_max_ms", 0, kYear, [](auto& settings) -> auto& { return settings.retry.max_delay_ms; }),
    number(
        "retry_jitter", 0, 100, [](auto& settings) -> auto& { return settings.retry.jitter; }),
    number(
        "max_messages", 0, kNumberMax, [](auto& settings) -> auto& { return settings.limits.messages; }),
    number(
        "max_bytes", 0, kNumberMax, [](auto& settings) -> auto& { return settings.limits.bytes; }),
    number(
        "max_message_bytes", 0, kMessageBytesMax,
        [](auto& settings) -> auto& { return settings.limits.message_bytes; }),
    number(
        "max_leased", 0, kNumberMax, [](auto& settings) -> auto& { return settings.limits.leased; }),
    number(
        "max_leased_by_consumer", 0, kNumberMax, [](auto& settings) -> auto& { return settings.limits.leased_by_one; }),
    {"when_full", false, [](const QueueSettings& settings) { return settings.limits.when_full == WhenFull::kReject; },
     [](const QueueSettings& settings, Packer& packer) {
       packer.text(name_of(kWhenFullNames, settings.limits.when_full));
     },
     read_when_full},
    {"dedup", false, [](const QueueSettings& settings) { return settings.dedup.mode == DedupMode::kWindow; },
     [](const QueueSettings& settings, Packer& packer) { packer.text(name_of(kDedupModeNames, settings.dedup.mode)); },
     read_dedup},
    number(
        "dedup_window_ms", kDedupWindowMsMin, kDedupWindowMsMax,
        [](auto& settings) -> auto& { return settings.dedup.window_ms; }),
    {"dead_letter", false, [](const QueueSettings& settings) { return settings.dead_letter.empty(); },
     [](const QueueSettings& settings, Packer& packer) { packer.text(settings.dead_letter); }, read_dead_letter},
    {"owner", false, [](const QueueSettings& settings) { return settings.owner.empty(); },
     [](const QueueSettings& settings, Packer& packer) { packer.text(settings.owner); }, read_owner},
    number(
        "partitions", 1, kQueuePartitionsMax, [](auto& settings) -> auto& { return settings.partitions; }),
    number(
        "key_partitions", 1, kQueuePartitionsMax, [](auto& settings) -> auto& { return settings.key_partitions; }),
}};

const Setting* find_setting(std::string_view key) {
  const auto found =
      std::find_if(kSettings.begin(), kSettings.end(), [key](const Setting& setting) { return setting.key == key; });
  return found == kSettings.end() ? nullptr : found;
}

Error unknown_setting(std::string_view key) {
  std::string known;
  for (const Setting& setting : kSettings) known += (known.empty() ? "" : ", ") + std::string(setting.key);
  return {Errc::kInvalidArgument, "there is no setting '" + std::string(repeatable(key)) + "'; known: " + known};
}

}  // namespace

SettingPairs pack_setting_pairs(const QueueSettings& settings) {
  SettingPairs pairs;
  Packer packer(pairs.packed);
  for (const Setting& setting : kSettings) {
    if (!setting.always && setting.is_default(settings)) continue;
    packer.text(setting.key);
    setting.pack(settings, packer);
    ++pairs.count;
  }
  return pairs;
}

std::string encode_queue_settings(const QueueSettings& settings) {
  const SettingPairs pairs = pack_setting_pairs(settings);
  std::string out;
  Packer packer(out);
  packer.map(pairs.count);
  packer.raw(pairs.packed);
  return out;
}

Result<QueueSettings> decode_queue_settings(std::string_view payload, MsgpackReader& reader, QueueSettings settings) {
  if (payload.empty()) return settings;
  const auto object = reader.read(payload, kSettingsLimits);
  if (!object) return tl::unexpected<Error>(object.error());
  if (auto map = check_map(*object); !map) return fail(Errc::kMalformed, "settings: " + map.error().context);
  for (std::uint32_t i = 0; i < object->via.map.size; ++i) {
    const auto& pair = object->via.map.ptr[i];
    const std::string_view key = as_text(pair.key).value_or("");
    const Setting* setting = find_setting(key);
    if (setting == nullptr) return tl::unexpected<Error>(unknown_setting(key));
    if (auto read = setting->read(pair.val, settings); !read) return tl::unexpected<Error>(read.error());
  }
  return settings;
}

Result<QueueSettings> read_settings(const msgpack::object& object) {
  QueueSettings settings;
  for (const Setting& setting : kSettings) {
    const msgpack::object* value = find_key(object, setting.key);
    if (value == nullptr) continue;
    if (auto read = setting.read(*value, settings); !read) {
      return fail(Errc::kMalformed, "settings: " + read.error().context);
    }
  }
  return settings;
}

}  // namespace dmq
