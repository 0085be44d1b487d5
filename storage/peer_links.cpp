// Two sockets to be followed by, two more for each worker that is followed.
#include "storage/peer_links.hpp"

#include <algorithm>

#include "runtime/logging.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

constexpr std::size_t kDrainMax = 256;                                        // messages a socket and turn
constexpr std::int64_t kPeerFrameBytesMax = std::int64_t{256} * 1024 * 1024;  // a turn's records of one partition

std::string topic_of(PartitionId partition) {
  return {static_cast<char>(partition.value >> 8), static_cast<char>(partition.value & 0xff)};
}

// tcp://0.0.0.0:5000 as others reach it.
std::string with_host(const std::string& endpoint, const std::string& host) {
  if (host.empty() || !endpoint.starts_with("tcp://")) return endpoint;
  return "tcp://" + host + endpoint.substr(endpoint.rfind(':'));
}

zmq::message_t shared_frame(std::shared_ptr<const std::string> bytes) {
  auto* owner = new std::shared_ptr<const std::string>(std::move(bytes));
  return zmq::message_t(
      const_cast<char*>((*owner)->data()), (*owner)->size(),
      [](void*, void* hint) { delete static_cast<std::shared_ptr<const std::string>*>(hint); }, owner);
}

}  // namespace

Result<std::unique_ptr<PeerLinks>> PeerLinks::open(zmq::context_t& context, PeerOptions options) {
  std::unique_ptr<PeerLinks> links(new PeerLinks(context, std::move(options)));
  if (auto bound = links->bind(); !bound) return tl::unexpected<Error>(bound.error());
  return links;
}

PeerLinks::PeerLinks(zmq::context_t& context, PeerOptions options)
    : context_(context),
      options_(std::move(options)),
      log_(make_socket(context, zmq::socket_type::pub, {options_.publish_max, kPeerFrameBytesMax, false})),
      followers_(make_socket(context, zmq::socket_type::router, {10'000, kPeerFrameBytesMax, false})) {}

Result<void> PeerLinks::bind() {
  if (options_.log_listen.empty()) return {};
  auto bound = bind_socket(log_, options_.log_listen);
  if (!bound) return tl::unexpected<Error>(bound.error());
  log_endpoint_ = with_host(*bound, options_.advertise_host);
  bound = bind_socket(followers_, options_.peer_listen);
  if (!bound) return tl::unexpected<Error>(bound.error());
  peer_endpoint_ = with_host(*bound, options_.advertise_host);
  return {};
}

void PeerLinks::follow(const CatalogCopy& catalog, const std::string& self) {
  std::map<std::string, std::set<PartitionId>> wanted;  // by leader
  for (std::uint16_t i = 0; i < catalog.partitions(); ++i) {
    const PartitionInfo* info = catalog.find_partition({i});
    if (info == nullptr || info->leader.empty() || info->leader == self || !lists(info->replicas, self)) continue;
    wanted[info->leader].insert(info->id);
  }
  workers_ = {catalog.workers().begin(), catalog.workers().end()};
  std::erase_if(peers_, [&](const auto& entry) {
    const WorkerInfo* worker = catalog.find_worker(entry.first);
    return worker == nullptr || worker->log_endpoint != entry.second.log_endpoint ||
           worker->peer_endpoint != entry.second.peer_endpoint;
  });
  for (auto& [name, peer] : peers_) {
    if (!wanted.contains(name)) subscribe(peer, {});
  }
  for (auto& [name, partitions] : wanted) {
    if (reach(name)) subscribe(peers_.at(name), std::move(partitions));
  }
}

PeerLinks::Peer::Peer(zmq::context_t& context, const PeerOptions& options, const WorkerInfo& worker)
    : log_endpoint(worker.log_endpoint),
      peer_endpoint(worker.peer_endpoint),
      log(make_socket(context, zmq::socket_type::sub, {options.publish_max, kPeerFrameBytesMax, false})),
      requests(context, {10'000, kPeerFrameBytesMax, false}) {}

// False: it cannot be reached.
bool PeerLinks::reach(const std::string& name) {
  if (peers_.contains(name)) return true;
  const auto worker = workers_.find(name);
  if (worker == workers_.end() || worker->second.log_endpoint.empty() || worker->second.peer_endpoint.empty())
    return false;
  return connect(name, worker->second);
}

bool PeerLinks::connect(const std::string& name, const WorkerInfo& worker) {
  const auto at = peers_.try_emplace(name, context_, options_, worker).first;
  auto connected = connect_socket(at->second.log, worker.log_endpoint);
  if (connected) connected = at->second.requests.connect(worker.peer_endpoint);
  if (connected) return true;
  spdlog::error("worker {} cannot be reached: {}", name, connected.error().context);
  peers_.erase(at);
  return false;
}

void PeerLinks::subscribe(Peer& peer, std::set<PartitionId> wanted) {
  for (const PartitionId id : wanted) {
    if (!peer.subscribed.contains(id)) peer.log.set(zmq::sockopt::subscribe, topic_of(id));
  }
  for (const PartitionId id : peer.subscribed) {
    if (!wanted.contains(id)) peer.log.set(zmq::sockopt::unsubscribe, topic_of(id));
  }
  peer.subscribed = std::move(wanted);
}

void PeerLinks::add_poll_items(std::vector<zmq::pollitem_t>& items) {
  if (!peer_endpoint_.empty()) items.push_back({followers_.handle(), 0, ZMQ_POLLIN, 0});
  for (auto& [name, peer] : peers_) {
    items.push_back({peer.log.handle(), 0, ZMQ_POLLIN, 0});
    items.push_back({peer.requests.socket().handle(), 0, ZMQ_POLLIN, 0});
  }
}

bool PeerLinks::drain(const Take& take) {
  bool moved = false;
  if (!peer_endpoint_.empty()) moved |= drain_socket(followers_, 1, take);
  for (auto& [name, peer] : peers_) {
    moved |= drain_socket(peer.log, 1, take);
    moved |= drain_requests(peer, take);
  }
  return moved;
}

bool PeerLinks::drain_requests(Peer& peer, const Take& take) {
  const bool lost = peer.requests.lost();
  const bool moved = drain_socket(peer.requests.socket(), 0, take);
  if (lost && !moved) peer.requests.renew();  // all that came has been read
  return moved;
}

bool PeerLinks::drain_socket(zmq::socket_t& socket, std::size_t skip, const Take& take) {
  std::vector<zmq::message_t> frames;
  std::size_t count = 0;
  for (; count < kDrainMax && receive_frames(socket, frames); ++count) {
    const bool shaped = frames.size() > skip && frames.size() <= skip + 2;
    const auto message = shaped ? decode_peer_message(bytes_of(frames[skip]), reader_) : fail(Errc::kMalformed, "");
    if (!message) {
      ++dropped_;
      continue;
    }
    if (&socket == &followers_) routes_[message->sender] = std::string(bytes_of(frames[0]));
    zmq::message_t none;
    take(*message, frames.size() > skip + 1 ? frames[skip + 1] : none);
  }
  return count > 0;
}

void PeerLinks::send(PeerFrame frame) {
  const bool answer = std::holds_alternative<FetchedRecords>(frame.message.body) ||
                      std::holds_alternative<TruncateRecords>(frame.message.body) ||
                      std::holds_alternative<SnapshotRecords>(frame.message.body) ||
                      std::holds_alternative<RangeDiffers>(frame.message.body) ||
                      std::holds_alternative<TransferredRecords>(frame.message.body);
  std::vector<zmq::message_t> frames;
  zmq::socket_t* socket = &log_;
  PeerSocket* leader = nullptr;
  if (frame.to.empty()) {
    frames.push_back(copy_frame(topic_of(frame.message.partition)));
  } else if (answer) {
    const auto route = routes_.find(frame.to);
    if (route == routes_.end()) return;
    frames.push_back(copy_frame(route->second));
    socket = &followers_;
  } else {
    if (!reach(frame.to)) return;
    leader = &peers_.at(frame.to).requests;
  }
  frames.push_back(make_frame(encode_peer_message(frame.message)));
  if (frame.records && !frame.records->empty()) {
    // Within one process each reader gets memory of its own, so that who frees it last is between libzmq's threads
    // alone.
    const bool near = log_endpoint_.starts_with("inproc:");
    frames.push_back(near ? copy_frame(*frame.records) : shared_frame(std::move(frame.records)));
  }
  const SendOutcome outcome = leader != nullptr ? leader->send(frames) : send_frames(*socket, frames);
  if (outcome != SendOutcome::kSent) ++dropped_;
}

}  // namespace dmq
