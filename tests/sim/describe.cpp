// See describe.hpp.
#include "tests/sim/describe.hpp"

namespace dmq::sim {
namespace {

template <class Tag, class Rep>
std::string text(Id<Tag, Rep> id) {
  return std::to_string(id.value);
}

std::string text(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
  return out;
}

std::string text(const std::vector<EpochStart>& starts) {
  std::string out;
  for (const EpochStart& start : starts) out += " " + text(start.epoch) + "@" + text(start.first);
  return out;
}

struct Body {
  std::string operator()(const AppendRecords& body) const {
    return "append [" + text(body.first) + " +" + std::to_string(body.count) + "] behind epoch " +
           text(body.prev_epoch) + " commit " + text(body.commit) + " trim " + text(body.trim);
  }
  std::string operator()(const AckRecords& body) const { return "ack " + text(body.end); }
  std::string operator()(const FetchRecords& body) const {
    return "fetch from " + text(body.end) + " behind epoch " + text(body.last_epoch) + " resume " + text(body.resume) +
           " nonce " + std::to_string(body.nonce);
  }
  std::string operator()(const FetchedRecords& body) const {
    return "fetched [" + text(body.first) + ", " + text(body.end) + ") of " + text(body.leader_end) + " behind epoch " +
           text(body.prev_epoch) + " commit " + text(body.commit) + " trim " + text(body.trim) + " epochs" +
           text(body.epochs) + " nonce " + std::to_string(body.nonce);
  }
  std::string operator()(const TruncateRecords& body) const {
    return "truncate to epoch " + text(body.epoch) + " end " + text(body.end) + " nonce " + std::to_string(body.nonce);
  }
  std::string operator()(const SnapshotRecords& body) const {
    return "snapshot [" + text(body.first) + ", " + text(body.end) + ") stamp " + text(body.stamp) + " epochs" +
           text(body.epochs) + " nonce " + std::to_string(body.nonce);
  }
  std::string operator()(const RangeHash& body) const {
    return "hash at " + text(body.at) + ": " + std::to_string(body.hash);
  }
  std::string operator()(const RangeDiffers& body) const {
    return "differs in [" + text(body.first) + ", " + text(body.end) + ")";
  }
  std::string operator()(const TransferRecords& body) const {
    return "transfer from queue " + text(body.from) + " of p" + text(body.source) + " to queue " + text(body.to);
  }
  std::string operator()(const TransferredRecords& body) const {
    return "transferred from queue " + text(body.from) + " to queue " + text(body.to) + " up to " +
           std::to_string(body.mark >> kMarkPlaceBits) + "/" +
           std::to_string(body.mark & ((std::uint64_t{1} << kMarkPlaceBits) - 1));
  }
};

}  // namespace

std::string describe(const PeerMessage& message) {
  return message.sender + " p" + text(message.partition) + " epoch " + text(message.epoch) + " session " +
         text(message.session) + ": " + std::visit(Body{}, message.body);
}

std::string describe(const PartitionInfo& info) {
  return "p" + text(info.id) + " epoch " + text(info.epoch) + " version " + text(info.version) + " leader " +
         info.leader + "/" + text(info.leader_session) + " [" + text(info.in_sync) + "] (" + text(info.eligible) +
         ") of " + text(info.replicas) + (info.target.empty() ? "" : " > " + text(info.target)) + " min " +
         std::to_string(info.min_in_sync);
}

std::string describe(const Partition& partition) {
  const Replica& replica = partition.replica();
  const char* const roles[] = {"idle", "leads", "follows"};
  return "p" + text(partition.id()) + " " + roles[static_cast<std::size_t>(replica.role())] + " epoch " +
         text(partition.epoch()) + "/" + text(replica.epoch()) + " version " + text(replica.set().version) + " end " +
         text(replica.end()) + " disk " + text(replica.end_on_disk()) + " commit " + text(replica.commit()) +
         " applied " + text(partition.applied()) + " trimmed " + text(partition.trimmed()) + " epochs" +
         text(replica.epochs().starts()) + (partition.rebuilding() ? " rebuilding" : "") +
         (replica.alone() ? " alone" : "");
}

}  // namespace dmq::sim
