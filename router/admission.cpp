// Who may do what, and where it goes.
#include "router/admission.hpp"

#include "protocol/limits.hpp"
#include "protocol/partitioner.hpp"
#include "protocol/queue_info.hpp"

namespace dmq {
namespace {

Error no_such_queue(std::string_view name, std::string_view advice = "dmq queue list shows what there is") {
  return {Errc::kNoSuchQueue, "there is no queue '" + std::string(name) + "'; " + std::string(advice)};
}

// Whom the partition waits for: one of those that have all that was confirmed.
std::string nobody_leads(PartitionId partition, const PartitionInfo* info) {
  const std::string which = "partition " + std::to_string(partition.value);
  if (info == nullptr || info->replicas.empty()) return "no worker leads " + which + " yet; try again";
  if (info->eligible.empty()) {
    return "no worker is known to have all messages of " + which + ", which has this queue; an operator must decide";
  }
  std::string names;
  for (const std::string& name : info->eligible) names += (names.empty() ? "" : " and ") + name;
  if (info->eligible.size() == 1) return "worker " + names + ", which has this queue, is away; try again";
  return "the workers " + names + ", which have this queue, are away; one of them is needed; try again";
}

}  // namespace

Admission::Admission(RouterSettings settings, const CatalogCopy& catalog)
    : settings_(std::move(settings)), catalog_(catalog) {}

Decision Admission::decide(const RequestHeader& header, std::string_view payload, bool admin) {
  if (header.op == Op::kPing) return LocalReply{};
  if (catalog_.empty()) return Error{Errc::kUnavailable, "this router has not reached metad yet; try again"};
  switch (header.op) {
    case Op::kHello:
      return LocalReply{hello()};
    case Op::kQueueList:
      return LocalReply{list(header)};
    case Op::kQueueCreate:
      return create(header, payload);
    case Op::kQueueUpdate:
      return update(header, payload);
    case Op::kQueueDelete:
      if (!admin && !settings_.allow_delete) return denied("deleted");
      if (catalog_.find_queue(header.queue) == nullptr) return no_such_queue(header.queue);
      return AskMetad{DeleteQueue{std::string(header.queue)}};
    case Op::kQueuePurge:
      if (!admin && !settings_.allow_delete) return denied("purged");
      return decide_for_queue(header);
    default:
      return decide_for_queue(header);
  }
}

Error Admission::denied(std::string_view what) const {
  return {Errc::kDenied,
          "queues are " + std::string(what) + " on the administrators' socket" +
              (settings_.admin_endpoint.empty() ? std::string() : " (" + settings_.admin_endpoint + ")") +
              ", or with --allow-delete"};
}

Decision Admission::decide_for_queue(const RequestHeader& header) {
  const QueueInfo* queue = catalog_.find_queue(header.queue);
  if (queue == nullptr) {
    const bool first_use = header.op == Op::kSend || header.op == Op::kReceive || header.op == Op::kSubscribe;
    if (first_use && settings_.auto_create) return CreateFirst{std::string(header.queue)};
    // Only who brings or wants messages is helped by an empty queue.
    if (first_use) return no_such_queue(header.queue, "create it first: dmq queue create " + std::string(header.queue));
    return no_such_queue(header.queue);
  }
  auto route_found = route(queue->partition, queue->id);
  if (!route_found) return route_found.error();
  route_found->spread = queue->settings.partitions > 1;
  return *route_found;
}

Result<Route> Admission::route(PartitionId partition, QueueId queue) const {
  const PartitionInfo* info = catalog_.find_partition(partition);
  const WorkerInfo* worker = info == nullptr ? nullptr : catalog_.find_worker(info->leader);
  if (worker == nullptr) return fail(Errc::kUnavailable, nobody_leads(partition, info));
  if (!worker->alive) {
    return fail(Errc::kUnavailable, "worker " + worker->name + ", which has this queue, is away; try again");
  }
  return Route{worker->endpoint, partition, info->epoch, queue, false};
}

Decision Admission::create(const RequestHeader& header, std::string_view payload) {
  const auto settings = decode_queue_settings(payload, reader_);
  if (!settings) return settings.error();
  return AskMetad{CreateQueue{std::string(header.queue), *settings, false}};
}

// The settings as this router knows them, changed; metad takes them only while they are still of that version.
Decision Admission::update(const RequestHeader& header, std::string_view payload) {
  const QueueInfo* queue = catalog_.find_queue(header.queue);
  if (queue == nullptr) return no_such_queue(header.queue);
  if (header.version > queue->version) {
    return Error{Errc::kUnavailable, "this router has not heard of version " + std::to_string(header.version) +
                                         " of the queue's settings yet; try again"};
  }
  if (header.version != 0 && header.version != queue->version) {
    return Error{Errc::kVersionConflict, "the settings of queue '" + queue->name + "' have version " +
                                             std::to_string(queue->version) + " by now; look at them again"};
  }
  const auto settings = decode_queue_settings(payload, reader_, queue->settings);
  if (!settings) return settings.error();
  return AskMetad{UpdateQueue{queue->name, queue->version, *settings}};
}

std::string Admission::hello() const {
  // Of several workers the weakest counts: nobody is promised more than each of them keeps.
  std::string sync = "commit";
  for (const auto& [name, worker] : catalog_.workers()) {
    if (worker.sync == "none" || (worker.sync == "interval" && sync == "commit")) sync = worker.sync;
  }
  return encode_hello({sync, settings_.admin_endpoint});
}

std::string Admission::list(const RequestHeader& header) const {
  const std::size_t most = header.max == 0 ? kListPageDefault : header.max;
  std::vector<const QueueInfo*> page;
  const auto& queues = catalog_.queues();
  auto at = header.after < header.prefix ? queues.lower_bound(header.prefix) : queues.upper_bound(header.after);
  for (; at != queues.end() && page.size() < most && at->first.starts_with(header.prefix); ++at)
    page.push_back(&at->second);
  return encode_queue_list(page);
}

}  // namespace dmq
