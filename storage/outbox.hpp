// What a worker's core has to say: to routers, to other replicas, to metad. Its loop sends it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protocol/metad_messages.hpp"
#include "protocol/replication.hpp"
#include "storage/turn.hpp"

namespace dmq {

// To another replica, or to all that follow the partition. Not urgent, and may be lost.
struct PeerFrame {
  std::string to;  // a worker's name; empty: publish
  PeerMessage message;
  std::shared_ptr<const std::string> records;  // shipped records; null: none. The turn that logs them shares them.
};

Error few_replicas();    // rule 9
Error not_ready();       // rule 3
Error leader_changed();  // the reply to what was not committed when another leader was elected

struct Outbox {
  std::vector<Reply> replies;
  std::vector<PeerFrame> peers;
  std::vector<AlterInSync> proposals;
  std::vector<ResignLeader> resignations;
  std::vector<ReportUnclean> reports;
  std::vector<std::string> notices;  // for the log, as errors
  std::vector<std::string> remarks;  // for the log

  bool empty() const {
    return replies.empty() && peers.empty() && proposals.empty() && resignations.empty() && reports.empty() &&
           notices.empty() && remarks.empty();
  }
};

}  // namespace dmq
