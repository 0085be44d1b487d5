// The named limits of DMQ/1. hello tells them to clients; docs/protocol.md, "Limits", lists them.
#pragma once

#include <cstdint>

namespace dmq {

inline constexpr std::uint64_t kProtocolVersion = 1;
inline constexpr int kDefaultPort = 7310;
inline constexpr int kDefaultAdminPort = 7311;

inline constexpr std::size_t kQueueNameBytesMax = 200;
inline constexpr std::size_t kHeaderBytesMax = 64 * 1024;          // the header frame
inline constexpr std::size_t kHeaderKeysMax = 64;                  // keys of the header map
inline constexpr std::size_t kMessageBytesMax = 16 * 1024 * 1024;  // one body
inline constexpr std::size_t kRequestBytesMax = 32 * 1024 * 1024;  // the payload frame
inline constexpr std::size_t kReplyBytesMax =
    64 * 1024 * 1024;                                      // the payload frame of a reply: bodies, headers and all
inline constexpr std::size_t kPayloadValuesMax = 200'000;  // MessagePack values in one payload frame
inline constexpr std::size_t kBatchMessagesMax = 1000;     // messages or receipts of one request
inline constexpr std::size_t kMessageHeadersMax = 64;      // headers of one message
inline constexpr std::size_t kMessageHeaderBytesMax = 16 * 1024;  // all headers of one message, packed
inline constexpr std::size_t kRequestIdBytesMax = 64;
inline constexpr std::size_t kProducerBytesMax = 64;
// Names of producers that begin with a control character are the broker's own.
inline constexpr char kTransferProducer = '\x01';   // begins the names of those that move messages between queues
inline constexpr char kDedupProducer = '\x02';      // and of those that stand for a dedup id
inline constexpr char kReplacingProducer = '\x03';  // likewise, of a queue whose new messages replace older ones
inline constexpr std::size_t kDedupIdBytesMax = 128;
inline constexpr std::int64_t kDedupWindowMsDefault = 300'000;
inline constexpr std::int64_t kDedupWindowMsMin = 1000;
inline constexpr std::int64_t kDedupWindowMsMax = 7 * 24 * 3600 * 1000LL;
inline constexpr std::size_t kDepthMax = 8;                          // nesting of msgpack values
inline constexpr std::uint64_t kNumberMax = std::uint64_t{1} << 53;  // JavaScript's last exact integer

inline constexpr std::int64_t kWaitMsMax = 60'000;         // receive, subscribe: wait_ms
inline constexpr std::int64_t kSubscriptionMsMin = 1'000;  // subscribe: wait_ms
inline constexpr std::int64_t kSubscriptionMsDefault = 30'000;
inline constexpr std::uint64_t kCreditDefault = 100;  // subscribe: credit, messages
inline constexpr std::uint64_t kCreditMax = 10'000;
inline constexpr std::uint64_t kCreditBytesDefault = 8 * 1024 * 1024;
inline constexpr std::uint64_t kCreditBytesMax = 64 * 1024 * 1024;  // what a client may leave unread
inline constexpr std::int64_t kLeaseMsDefault = 30'000;
inline constexpr std::int64_t kLeaseMsMin = 100;
inline constexpr std::int64_t kLeaseMsMax = 12 * 3600 * 1000;
inline constexpr std::uint64_t kPriorityWeightMax = 100;
inline constexpr std::size_t kMessageLabelBytesMax = 255;  // content_type, correlation_id and the like
inline constexpr std::size_t kNackReasonBytesMax = 1024;
inline constexpr std::size_t kReceiveBytesDefault = 1024 * 1024;  // receive: max_bytes
inline constexpr std::size_t kReceiveBytesMax = kRequestBytesMax - 1024 * 1024;
inline constexpr std::size_t kBrowseDefault = 100;  // browse: max
inline constexpr std::uint64_t kQueuePartitionsMax = 64;
inline constexpr std::size_t kListPageDefault = 100;  // queue.list: max
inline constexpr std::size_t kListPageMax = 1000;

inline constexpr std::uint16_t kPartitionsDefault = 64;
inline constexpr std::uint16_t kPartitionsMax = 4096;
inline constexpr std::uint64_t kStoreBytesMax = std::uint64_t{16} << 40;  // a worker maps three times as much
inline constexpr std::int64_t kHeartbeatMs = 1000;                        // of ZeroMQ's connections; hello tells it

// Between metad and its members, as far as metad does not say otherwise.
inline constexpr std::int64_t kMemberHeartbeatMs = 300;
inline constexpr std::uint32_t kHeartbeatsMissedDefault = 5;  // then a member is taken for dead
inline constexpr std::uint8_t kReplicationFactorMax = 7;
inline constexpr std::size_t kReplicasMax = 2 * kReplicationFactorMax;  // of one partition while it moves

}  // namespace dmq
