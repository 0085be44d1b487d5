// See cluster_commands.hpp.
#include "clients/cli/cluster_commands.hpp"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "clients/cli/cluster_faults.hpp"
#include "clients/cli/cluster_view.hpp"
#include "clients/cli/session.hpp"
#include "clients/cli/value_table.hpp"
#include "protocol/limits.hpp"
#include "runtime/clock.hpp"
#include "runtime/endpoint.hpp"
#include "runtime/flags.hpp"

namespace dmq::cli {
namespace {

constexpr DurationMs kLookAgain{300};
constexpr DurationMs kObstaclePatience{3000};  // an election is over by then

constexpr const char* kExamples = R"(
Examples:
  dmq cluster status                        exit code 0: all partitions are served and in sync
  until dmq cluster status; do sleep 1; done      wait for that, as between two restarts
  dmq cluster members                       each worker: its state, what it leads and holds
  dmq cluster partitions                    each partition: who leads, holds, is in sync
  dmq cluster drain worker-2 --wait         its data goes to the others; then it can be switched off
  dmq cluster drain worker-2 --undo         it takes data again
  dmq cluster fence worker-2                at once no leader and in no confirmation; --undo takes it back
  dmq cluster forget worker-2               it is gone for good: metad does not list it any more
  dmq cluster move 7 worker-1,worker-3      these hold partition 7, the first one leads; --wait for the copying
  dmq cluster move 7 --anywhere             metad chooses again
  dmq cluster set --replicas 3 --min-in-sync 2    how many workers keep each partition, how many must confirm
  dmq cluster force-leader 7 worker-3       when nobody leads it any more; refused while that can lose messages
  dmq cluster force-leader 7 worker-3 --accept-loss     for good: what only others had is lost

metad is found by --metad or DMQ_METAD. In a pipe, or with --json, everything is JSON lines.
Step by step, for bad days too: docs/operations.md.
Exit codes: 0 ok, 1 error or not in sync, 2 usage, 4 metad unreachable, 5 denied.)";

// What takes time, as a line that changes on a terminal, and as JSON lines elsewhere.
class Progress {
 public:
  explicit Progress(bool json) : json_(json || !is_terminal(STDOUT_FILENO)) {}
  ~Progress() { end_line(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // True: something changed.
  bool show(const Value& state, const std::string& line) {
    std::string now = to_json(state);
    if (now == last_) return false;
    last_ = std::move(now);
    if (json_) {
      std::cout << last_ << std::endl;
    } else {
      std::cerr << "\r\033[K" << line << std::flush;
      open_line_ = true;
    }
    return true;
  }

 private:
  void end_line() const {
    if (open_line_) std::cerr << std::endl;
  }

  const bool json_;
  bool open_line_ = false;
  std::string last_;
};

// The request, and behind what metad refuses what can be done about it.
template <class Reply>
Reply ask(MetadSession& metad, MetadRequestBody body, const std::string& advice) {
  try {
    return metad.ask<Reply>(std::move(body));
  } catch (const ClientError& error) {
    Failure failure = error.failure();
    if (failure.code != "metad_unreachable" && failure.code != "interrupted") failure.message += "; " + advice;
    throw ClientError(std::move(failure));
  }
}

[[noreturn]] void fail_with(const std::string& text) { throw ClientError({"", text, false}); }

// --- looking -------------------------------------------------------------------------------------------------------

void status(const ClusterFlags&, MetadSession& metad, bool json) {
  const auto catalog = metad.ask<CatalogSnapshot>(GetSnapshot{});
  print_fields(status_of(catalog), json);
  std::cout.flush();
  if (const auto fault = fault_of(catalog)) fail_with(*fault);
}

void members(const ClusterFlags&, MetadSession& metad, bool json) {
  const auto catalog = metad.ask<CatalogSnapshot>(GetSnapshot{});
  if (catalog.workers.empty()) std::cerr << *fault_of(catalog) << '\n';
  print_table(member_rows(catalog), json);
}

void partitions(const ClusterFlags&, MetadSession& metad, bool json) {
  print_table(partition_rows(metad.ask<CatalogSnapshot>(GetSnapshot{})), json);
}

// --- workers -------------------------------------------------------------------------------------------------------

constexpr const char* kSeeMembers = "see who is there with: dmq cluster members";

Value load_row(const std::string& worker, const WorkerLoad& load) {
  return Value(Value::Map{
      {"name", Value(worker)}, {"leads", Value(std::int64_t{load.leads})}, {"holds", Value(std::int64_t{load.holds})}});
}

// LIMIT: who undoes a drain ends with Ctrl-C a --wait for it elsewhere, which would begin it again.
void wait_until_drained(MetadSession& metad, const std::string& worker, bool json) {
  Progress progress(json);
  TimeMs changed = steady_now();
  for (;;) {
    const auto load = ask<WorkerLoad>(metad, DrainWorker{worker, true}, kSeeMembers);
    const TimeMs now = steady_now();
    if (progress.show(load_row(worker, load), worker + " still holds " + counted(load.holds, "partition"))) {
      changed = now;
    }
    if (load.holds == 0) return;
    if (now - changed >= kObstaclePatience) {
      if (auto why = drain_obstacle(metad.ask<CatalogSnapshot>(GetSnapshot{}), worker)) {
        fail_with(*why + "; the drain goes on by itself");
      }
      changed = now;
    }
    metad.pause(kLookAgain);
  }
}

void drain(const ClusterFlags& flags, MetadSession& metad, bool json) {
  if (flags.wait) return wait_until_drained(metad, flags.worker, json);
  const auto load = ask<WorkerLoad>(metad, DrainWorker{flags.worker, !flags.undo}, kSeeMembers);
  print_fields(load_row(flags.worker, load), json);
}

void fence(const ClusterFlags& flags, MetadSession& metad, bool json) {
  const auto load = ask<WorkerLoad>(metad, FenceWorker{flags.worker, !flags.undo}, kSeeMembers);
  print_fields(load_row(flags.worker, load), json);
}

void forget(const ClusterFlags& flags, MetadSession& metad, bool json) {
  const auto catalog = metad.ask<CatalogSnapshot>(GetSnapshot{});
  if (auto why = forget_obstacle(catalog, flags.worker)) fail_with(*why);
  const auto forgotten = metad.ask<WorkerForgotten>(ForgetWorker{flags.worker});
  print_fields(Value(Value::Map{{"name", Value(forgotten.name)}, {"forgotten", Value(true)}}), json);
}

// --- partitions ----------------------------------------------------------------------------------------------------

constexpr const char* kSeePartitions = "see who holds what with: dmq cluster partitions";

// LIMIT: each look takes the whole catalog.
PartitionInfo look_at(MetadSession& metad, PartitionId id) {
  const auto catalog = metad.ask<CatalogSnapshot>(GetSnapshot{});
  const PartitionInfo& partition = catalog.partition_infos.at(id.value);
  if (auto why = move_obstacle(catalog, partition)) fail_with(*why);
  return partition;
}

void wait_until_arrived(MetadSession& metad, PartitionInfo partition, bool json) {
  Progress progress(json);
  for (;;) {
    const std::string name = "partition " + std::to_string(partition.id.value);
    progress.show(partition_row(partition), name + (partition.target.empty() ? " has arrived" : " is being copied"));
    if (partition.target.empty()) return;
    metad.pause(kLookAgain);
    partition = look_at(metad, partition.id);
  }
}

bool is_same_set(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

void move(const ClusterFlags& flags, MetadSession& metad, bool json) {
  const auto moved = ask<PartitionInfo>(metad, MovePartition{{flags.partition}, flags.workers}, kSeePartitions);
  if (!flags.wait) return print_fields(partition_row(moved), json);
  wait_until_arrived(metad, moved, json);
  if (flags.anywhere) return;
  const PartitionInfo now = look_at(metad, moved.id);
  if (!is_same_set(now.replicas, flags.workers)) {
    fail_with("partition " + std::to_string(moved.id.value) + " was sent elsewhere meanwhile; " + kSeePartitions);
  }
}

void force_leader(const ClusterFlags& flags, MetadSession& metad, bool json) {
  const std::string again = "dmq cluster force-leader " + std::to_string(flags.partition) + " " + flags.worker;
  try {
    const auto forced = metad.ask<PartitionInfo>(ForceLeader{{flags.partition}, flags.worker, flags.accept_loss});
    print_fields(partition_row(forced), json);
  } catch (const ClientError& error) {
    if (error.code() == "denied") {
      throw ClientError({"denied", error.failure().message + ": " + again + " --accept-loss", false});
    }
    throw;
  }
}

void set(const ClusterFlags& flags, MetadSession& metad, bool json) {
  const auto before = metad.ask<CatalogSnapshot>(GetSnapshot{}).cluster;
  const std::uint8_t replicas = flags.replicas == 0 ? before.replication_factor : flags.replicas;
  const std::uint8_t minimum = flags.min_in_sync == 0 ? before.min_in_sync : flags.min_in_sync;
  if (minimum > replicas) {
    fail_with(std::to_string(minimum) + " of " + counted(replicas, "replica") + " cannot be in sync" +
              "; give --min-in-sync too, from 1 to the number of --replicas");
  }
  const auto now = metad.ask<ClusterInfo>(SetCluster{replicas, minimum});
  print_fields(Value(Value::Map{{"replicas", Value(std::int64_t{now.replication_factor})},
                                {"min_in_sync", Value(std::int64_t{now.min_in_sync})}}),
               json);
}

// --- the command line ----------------------------------------------------------------------------------------------

using Perform = void (*)(const ClusterFlags& flags, MetadSession& metad, bool json);

class Commands {
 public:
  Commands(CLI::App& cluster, ClusterFlags& flags, const bool& json, ClusterAction& action)
      : cluster_(cluster), flags_(flags), json_(json), action_(action) {}

  void add_all() {
    add("status", "Are all partitions served and in sync? Exit code 1 when not, with what to do", status);
    add("members", "Each worker: its state, and how much it leads, holds and has in sync", members);
    add("partitions", "Each partition: who leads it, holds it, is in sync; where it moves", partitions);
    add_workers_commands();
    add_partitions_commands();
    CLI::App* setting = add("set", "How many workers keep each partition, how many must confirm", set);
    setting->add_option("--replicas", flags_.replicas, "So many workers hold each partition")
        ->check(CLI::Range(1, int{kReplicationFactorMax}));
    setting->add_option("--min-in-sync", flags_.min_in_sync, "So many must have a message before it is confirmed")
        ->check(CLI::Range(1, int{kReplicationFactorMax}));
    setting->require_option(1, 2);
  }

 private:
  CLI::App* add(const std::string& name, const std::string& text, Perform perform) {
    CLI::App* sub = cluster_.add_subcommand(name, text);
    sub->fallthrough();
    sub->callback([this_flags = &flags_, json = &json_, action = &action_, perform] {
      if (auto good = check_endpoint("--metad", this_flags->metad, EndpointUse::kConnect); !good) {
        throw CLI::ValidationError(good.error().context);
      }
      *action = [=](MetadSession& metad) { perform(*this_flags, metad, *json); };
    });
    return sub;
  }

  void add_workers_commands() {
    CLI::App* draining = add("drain", "Bring what a worker holds to the others, to switch it off", drain);
    add_worker(*draining);
    CLI::Option* undo = draining->add_flag("--undo", flags_.undo, "It takes data again");
    draining->add_flag("--wait", flags_.wait, "Show how it goes until the worker holds nothing")->excludes(undo);
    CLI::App* fencing = add("fence", "Let a worker neither lead nor be in sync, at once", fence);
    add_worker(*fencing);
    fencing->add_flag("--undo", flags_.undo, "It counts again");
    add_worker(*add("forget", "Take a worker that is gone for good from the list of members", forget));
  }

  void add_partitions_commands() {
    CLI::App* moving = add("move", "Choose who holds a partition; its data is copied before it is let go", move);
    add_partition(*moving);
    CLI::App* destination = moving->add_option_group("where");
    CLI::Option* workers = destination->add_option("WORKERS", flags_.workers, "By comma, the one to lead first");
    workers->delimiter(',')->expected(1, int{kReplicationFactorMax});
    destination->add_flag("--anywhere", flags_.anywhere, "Where metad would put it; takes an earlier choice back");
    destination->require_option(1);
    moving->add_flag("--wait", flags_.wait, "Show how it goes until the partition has arrived");
    CLI::App* forcing =
        add("force-leader", "Let a worker lead a partition that cannot have a better one", force_leader);
    add_partition(*forcing);
    add_worker(*forcing);
    forcing->add_flag("--accept-loss", flags_.accept_loss,
                      "Although confirmed messages that it lacks are lost for good");
  }

  void add_worker(CLI::App& app) {
    app.add_option("WORKER", flags_.worker, "Its name")->required()->check([](const std::string& name) {
      return name.empty() ? "the worker's name is empty" : "";
    });
  }
  void add_partition(CLI::App& app) {
    app.add_option("PARTITION", flags_.partition, "Its number, from 0")
        ->required()
        ->check(CLI::Range(0, int{kPartitionsMax} - 1));
  }

  CLI::App& cluster_;
  ClusterFlags& flags_;
  const bool& json_;
  ClusterAction& action_;
};

}  // namespace

void add_cluster_commands(CLI::App& app, ClusterFlags& flags, const bool& json, ClusterAction& action) {
  CLI::App& cluster = *app.add_subcommand("cluster", "Look at a cluster and change it, by its metad");
  cluster.footer(kExamples);
  cluster.require_subcommand(1);
  cluster.fallthrough();
  cluster.add_option("--metad", flags.metad, "Where dmq-metad listens: host:port")
      ->envname("DMQ_METAD")
      ->capture_default_str()
      ->type_name("ENDPOINT");
  Commands(cluster, flags, json, action).add_all();
}

}  // namespace dmq::cli
