// dmq: looks after queues (dmq queue ...) and a cluster (dmq cluster ...), asks whether a broker is there (dmq ping),
// and lets shells complete (dmq completion ...).
#include <unistd.h>

#include <functional>
#include <iostream>

#include "clients/cli/admin_client.hpp"
#include "clients/cli/backup_commands.hpp"
#include "clients/cli/cluster_commands.hpp"
#include "clients/cli/completion_commands.hpp"
#include "clients/cli/interrupt.hpp"
#include "clients/cli/look_commands.hpp"
#include "clients/cli/redrive_command.hpp"
#include "clients/cli/session.hpp"
#include "clients/cli/top.hpp"
#include "clients/cli/transfer_commands.hpp"
#include "clients/cli/value_table.hpp"

namespace dmq::cli {
namespace {

constexpr const char* kProgram = "dmq";
constexpr const char* kExamples = R"(
Examples:
  dmq ping                                  is the broker there, and what is it?
  dmq queue create jobs --lease 2m          messages come back after 2 minutes without an ack
  dmq queue create news --ttl 1d            messages are not received any more after a day
  dmq queue create mail --priority-weights 1,1,1,1,1,2,2,2,2,4
                                            nine of ten are urgent? the rest comes too
  dmq queue list                            all queues; in a pipe, JSON lines
  dmq queue describe jobs                   how many messages are ready, leased, delayed
  dmq queue update jobs --lease 5m          also while it is used
  dmq queue pause jobs --receive            nothing is handed out until: dmq queue resume jobs
  dmq queue peek jobs                       the next message, without taking it
  dmq queue browse jobs --state leased      what consumers hold, and until when
  dmq queue stats                           all queues: what is in them, how old, how much goes through
  dmq queue purge jobs                      removes all messages, keeps the queue
  dmq queue update jobs --max-deliveries 5 --retry-delay 10s --retry-backoff exponential --dead-letter jobs.dead
  dmq queue redrive jobs.dead --rate 50     what is in there goes back to where it came from
  dmq top                                   the same as a live view, busy queues first
  dmq export jobs > jobs.jsonl              settings and messages as lines of JSON; dmq import reads them
  dmq backup ./dmq-data /backup/monday      a copy of all a running broker has on disk; dmq restore
  dmq queue delete jobs                     removes the queue and its messages, for good
  dmq cluster status                        are all partitions served and in sync? (dmq cluster --help)
  source <(dmq completion bash)             bash then completes what is typed; also zsh, fish

The broker is found by --broker or DMQ_ENDPOINT, its administrators' endpoint by --admin or DMQ_ADMIN_ENDPOINT.
Send and receive with dmq-send and dmq-recv.
Exit codes: 0 ok, 1 error, 2 usage, 3 nothing there (peek), 4 broker or metad unreachable, 5 denied, 6 no such queue.)";

struct Flags {
  explicit Flags(int interrupt_fd)
      : look{broker, json, interrupt_fd},
        top{interrupt_fd},
        redrive{json, interrupt_fd},
        transfer{broker, interrupt_fd},
        backup{interrupt_fd} {}
  BrokerFlags broker;
  std::string admin;
  std::string queue;
  std::string prefix;
  DurationMs lease{0};
  DurationMs delay{0};
  DurationMs ttl{0};
  DurationMs retry_delay{0};
  DurationMs retry_delay_max{0};
  DurationMs dedup_window{0};
  QueueOptions options;  // those that need no conversion
  std::uint64_t if_version = 0;
  bool strict = false;
  bool no_dead_letter = false;
  bool send = false;
  bool receive = false;
  bool yes = false;
  bool json = false;
  LookFlags look;
  TopFlags top;
  RedriveFlags redrive;
  TransferFlags transfer;
  BackupFlags backup;
};

void create(const Flags& flags, Client& client) {
  QueueOptions options = flags.options;
  options.lease = std::chrono::milliseconds(flags.lease.value);
  options.delay = std::chrono::milliseconds(flags.delay.value);
  options.ttl = std::chrono::milliseconds(flags.ttl.value);
  options.retry_delay = std::chrono::milliseconds(flags.retry_delay.value);
  options.retry_delay_max = std::chrono::milliseconds(flags.retry_delay_max.value);
  options.dedup_window = std::chrono::milliseconds(flags.dedup_window.value);
  print_fields(client.create_queue(flags.queue, options), flags.json);
}

// Of the settings that were given on the command line.
void update(const Flags& flags, const CLI::App& command, Client& client) {
  QueueChanges changes;
  changes.if_version = flags.if_version;
  const auto span = [](DurationMs value) { return std::chrono::milliseconds(value.value); };
  if (command.count("--lease") > 0) changes.lease = span(flags.lease);
  if (command.count("--delay") > 0) changes.delay = span(flags.delay);
  if (command.count("--ttl") > 0) changes.ttl = span(flags.ttl);
  if (command.count("--max-deliveries") > 0) changes.max_deliveries = flags.options.max_deliveries;
  if (command.count("--retry-backoff") > 0) changes.retry_backoff = flags.options.retry_backoff;
  if (command.count("--retry-delay") > 0) changes.retry_delay = span(flags.retry_delay);
  if (command.count("--retry-delay-max") > 0) changes.retry_delay_max = span(flags.retry_delay_max);
  if (command.count("--retry-jitter") > 0) changes.retry_jitter = flags.options.retry_jitter;
  if (command.count("--dead-letter") > 0) changes.dead_letter = flags.options.dead_letter;
  if (command.count("--max-messages") > 0) changes.max_messages = flags.options.max_messages;
  if (command.count("--max-bytes") > 0) changes.max_bytes = flags.options.max_bytes;
  if (command.count("--max-message-bytes") > 0) changes.max_message_bytes = flags.options.max_message_bytes;
  if (command.count("--max-leased") > 0) changes.max_leased = flags.options.max_leased;
  if (command.count("--max-leased-by-consumer") > 0)
    changes.max_leased_by_consumer = flags.options.max_leased_by_consumer;
  if (command.count("--partitions") > 0) changes.partitions = flags.options.partitions;
  if (command.count("--when-full") > 0) changes.when_full = flags.options.when_full;
  if (command.count("--dedup") > 0) changes.dedup = flags.options.dedup;
  if (command.count("--dedup-window") > 0) changes.dedup_window = span(flags.dedup_window);
  if (command.count("--owner") > 0) changes.owner = flags.options.owner;
  if (flags.no_dead_letter) changes.dead_letter.emplace();
  if (command.count("--confirm") > 0) changes.confirm = flags.options.confirm;
  if (command.count("--priority-weights") > 0) changes.priority_weights = flags.options.priority_weights;
  if (flags.strict) changes.priority_weights.emplace();
  print_fields(client.update_queue(flags.queue, changes), flags.json);
}

// Neither the queue's name nor a condition is something to change.
void check_something_changes(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() > 0 && option->nonpositional() && !option->check_lname("if-version")) return;
  }
  throw CLI::ValidationError(
      "nothing to change: give a setting, like --lease 2m or --ttl 1d (dmq queue update --help)");
}

// Both ways unless one is named.
void pause(const Flags& flags, bool on, Client& client) {
  QueueChanges changes;
  const bool both = flags.send == flags.receive;
  if (both || flags.send) changes.pause_send = on;
  if (both || flags.receive) changes.pause_receive = on;
  print_fields(client.update_queue(flags.queue, changes), flags.json);
}

void describe(const Flags& flags, Client& client) { print_fields(client.describe_queue(flags.queue), flags.json); }

void list(const Flags& flags, Client& client) { print_table(client.list_queues(flags.prefix), flags.json); }

// Deleting is for administrators, who have an endpoint of their own; the broker tells where.
void remove(const Flags& flags, Client& client, const Interrupt& interrupt) {
  if (!flags.yes && is_terminal(STDIN_FILENO)) {
    throw ClientError({"invalid_argument",
                       "this removes the queue '" + flags.queue + "' and all its messages for good; add --yes to do it",
                       false});
  }
  admin_client(client, flags.broker, flags.admin, interrupt.fd()).delete_queue(flags.queue);
  if (is_terminal(STDERR_FILENO)) std::cerr << "queue '" << flags.queue << "' is deleted\n";
}

void ping(const Flags& flags, Client& client) {
  const Value broker = client.hello();  // connects too, so that the round trip is only that
  const auto time = client.ping();
  if (flags.json || !is_terminal(STDOUT_FILENO)) {
    std::cout << "{\"round_trip_us\":" << time.count() << ",\"broker\":" << to_json(broker) << "}\n";
    return;
  }
  std::cout << flags.broker.broker << " answered in " << time.count() << " us\n" << fields_text(broker);
}

void add_settings(CLI::App& command, Flags& flags) {
  add_duration(command, "--lease", flags.lease,
               "How long a receiver has before a message comes back; 0s: as the broker says");
  command
      .add_option("--confirm", flags.options.confirm,
                  "When sends and acks are confirmed: 'in_sync', all in-sync replicas have them on disk (the default), "
                  "or 'leader', the leader has: faster, but lost when its worker is")
      ->check(CLI::IsMember({"in_sync", "leader"}));
  add_duration(command, "--delay", flags.delay, "How long messages wait that say nothing of it");
  add_duration(command, "--ttl", flags.ttl, "After how long messages expire that say nothing of it; 0s: never");
  command
      .add_option("--priority-weights", flags.options.priority_weights,
                  "Ten numbers from 1 to 100, priority 0 first: the share of each while all have messages (default: "
                  "higher ones always go first)")
      ->delimiter(',')
      ->expected(10)
      ->check(CLI::Range(1, 100));
  command.add_option("--max-deliveries", flags.options.max_deliveries,
                     "After so many deliveries without an ack a message is dead; 0: never (default)");
  command
      .add_option("--dead-letter", flags.options.dead_letter,
                  "The queue for dead and expired messages; it is created when it is not there")
      ->type_name("QUEUE");
  add_duration(command, "--retry-delay", flags.retry_delay, "How long a message waits after a delivery that failed");
  command
      .add_option("--retry-backoff", flags.options.retry_backoff,
                  "How that grows with the deliveries: 'fixed' (the default), 'linear' or 'exponential'")
      ->check(CLI::IsMember({"fixed", "linear", "exponential"}));
  add_duration(command, "--retry-delay-max", flags.retry_delay_max, "It grows no further; 0s: no limit");
  command
      .add_option("--retry-jitter", flags.options.retry_jitter,
                  "Each delay is shorter by up to so many percent, at random")
      ->check(CLI::Range(0, 100));
}

void add_limits(CLI::App& command, Flags& flags) {
  command.add_option("--max-messages", flags.options.max_messages, "So many messages in it; 0: no limit (default)");
  command.add_option("--max-bytes", flags.options.max_bytes, "So many bytes, like 10GiB; 0: no limit (default)")
      ->transform(CLI::AsSizeValue(false));
  command
      .add_option("--max-message-bytes", flags.options.max_message_bytes,
                  "So many bytes of one body, like 64KiB; 0: 16 MiB (default)")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--max-leased", flags.options.max_leased,
                     "So many messages leased at the same time; 0: no limit (default)");
  command.add_option("--max-leased-by-consumer", flags.options.max_leased_by_consumer,
                     "So many by each consumer that names itself; 0: no limit (default)");
  command
      .add_option(
          "--when-full", flags.options.when_full,
          "A send to a full queue: 'reject' it (the default), 'drop_oldest', or 'dead_letter', the oldest go to "
          "the dead-letter queue")
      ->check(CLI::IsMember({"reject", "drop_oldest", "dead_letter"}));
  command
      .add_option("--dedup", flags.options.dedup,
                  "A message whose dedup id another one had is not taken for a 'window' of time (the default) or "
                  "'while_present' the other is in the queue; or it is to 'replace' the other")
      ->check(CLI::IsMember({"window", "while_present", "replace"}));
  add_duration(command, "--dedup-window", flags.dedup_window, "That window, from 1s to 7d; 5 minutes when not set");
  command
      .add_option("--partitions", flags.options.partitions,
                  "Spread it over so many partitions, and so workers: order is kept within a key only. It can grow")
      ->check(CLI::Range(1, 64));
  command.add_option("--owner", flags.options.owner, "Who cares for it, for people: a team, an address");
}

void add_queue_commands(CLI::App& app, Flags& flags, const Interrupt& interrupt, ClientAction& action) {
  CLI::App& queue = *app.add_subcommand("queue", "Create, change, pause, look at, list, purge and delete queues");
  queue.require_subcommand(1);
  queue.fallthrough();
  CLI::App* creating =
      add_command(queue, "create", "Create a queue", action, [&](Client& client) { create(flags, client); });
  add_queue_argument(*creating, flags.queue, "Its name");
  add_settings(*creating, flags);
  add_limits(*creating, flags);
  CLI::App& updating = *queue.add_subcommand("update", "Change settings of a queue, also while it is used");
  updating.fallthrough();
  updating.callback([&] {
    check_something_changes(updating);
    action = [&](Client& client) { update(flags, updating, client); };
  });
  add_queue_argument(updating, flags.queue, "Its name");
  add_settings(updating, flags);
  add_limits(updating, flags);
  updating.add_flag("--strict-priorities", flags.strict, "No weights any more: higher priorities always go first")
      ->excludes("--priority-weights");
  updating.add_flag("--no-dead-letter", flags.no_dead_letter, "Dead messages stay in the queue, expired ones are gone")
      ->excludes("--dead-letter");
  updating.add_option("--if-version", flags.if_version, "Only while the settings have this version (queue describe)");
  for (const bool on : {true, false}) {
    CLI::App* pausing =
        add_command(queue, on ? "pause" : "resume", on ? "Refuse sends and hand nothing out" : "End a pause", action,
                    [&flags, on](Client& client) { pause(flags, on, client); });
    add_queue_argument(*pausing, flags.queue, "Its name");
    pausing->add_flag("--send", flags.send, "Sends only");
    pausing->add_flag("--receive", flags.receive, "Receives only");
  }
  CLI::App* describing = add_command(queue, "describe", "Settings of a queue and what is in it", action,
                                     [&](Client& client) { describe(flags, client); });
  add_queue_argument(*describing, flags.queue, "Its name");
  add_command(queue, "list", "All queues", action, [&](Client& client) {
    list(flags, client);
  })->add_option("PREFIX", flags.prefix, "Only names that begin so");
  CLI::App* redriving = add_command(queue, "redrive", "Hand dead messages out again, take dead letters back", action,
                                    [&](Client& client) { redrive(flags.redrive, client); });
  add_queue_argument(*redriving, flags.redrive.queue, "A queue with dead messages, or one for dead letters");
  add_redrive_options(*redriving, flags.redrive);
  CLI::App* deleting = add_command(queue, "delete", "Delete a queue and its messages", action,
                                   [&](Client& client) { remove(flags, client, interrupt); });
  add_queue_argument(*deleting, flags.queue, "Its name");
  deleting->add_flag("--yes", flags.yes, "Do it; needed on a terminal");
  add_admin_option(*deleting, flags.admin);
  add_look_commands(queue, flags.look, action);
}

int run(int argc, char** argv) {
  const Interrupt interrupt;
  Flags flags(interrupt.fd());
  ClusterFlags cluster;
  ClientAction action;
  ClusterAction cluster_action;
  CLI::App app{"Looks after a dmq broker, its queues and its cluster.", kProgram};
  app.footer(kExamples);
  app.require_subcommand(1);
  app.fallthrough();
  add_broker_flags(app, flags.broker);
  app.add_flag("--json", flags.json, "Print JSON lines on a terminal too");
  add_queue_commands(app, flags, interrupt, action);
  add_cluster_commands(app, cluster, flags.json, cluster_action);
  CLI::App* top = add_command(app, "top", "A live view of the queues, busy ones first", action,
                              [&](Client& client) { run_top(flags.top, flags.json, client); });
  add_top_options(*top, flags.top);
  add_transfer_commands(app, flags.transfer, action);
  std::function<void()> local_action;  // needs no broker that answers
  add_backup_commands(app, flags.backup, local_action);
  add_command(app, "ping", "Ask a broker whether it is there", action, [&](Client& client) { ping(flags, client); });
  std::vector<std::string> words;
  add_completion_commands(app, flags.broker, words, local_action);

  if (const auto code = parse_flags(app, argc, argv)) return *code;
  if (local_action) {
    local_action();
  } else if (cluster_action) {
    MetadSession metad(cluster.metad, flags.broker.timeout, interrupt.fd());
    cluster_action(metad);
  } else {
    Client client(client_options(flags.broker, interrupt.fd()));
    action(client);
  }
  if (flags.backup.exit_code != 0) return flags.backup.exit_code;
  return std::cout.flush() ? flags.look.exit_code : report_output_gone(kProgram);
}

}  // namespace
}  // namespace dmq::cli

int main(int argc, char** argv) { return dmq::cli::run_command(dmq::cli::kProgram, dmq::cli::run, argc, argv); }
