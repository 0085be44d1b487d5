// dmq: looks after queues (dmq queue create, describe, list, delete) and asks whether a broker is there (dmq ping).
#include <unistd.h>

#include <functional>
#include <iostream>

#include "clients/cli/interrupt.hpp"
#include "clients/cli/session.hpp"
#include "clients/cli/value_table.hpp"

namespace dmq::cli {
namespace {

constexpr const char* kProgram = "dmq";
constexpr const char* kExamples = R"(
Examples:
  dmq ping                                  is the broker there, and what is it?
  dmq queue create jobs --lease 2m          messages come back after 2 minutes without an ack
  dmq queue list                            all queues; in a pipe, JSON lines
  dmq queue describe jobs                   how many messages are ready, leased, delayed
  dmq queue delete jobs                     removes the queue and its messages, for good

The broker is found by --broker or DMQ_ENDPOINT, its administrators' endpoint by --admin or DMQ_ADMIN_ENDPOINT.
Send and receive with dmq-send and dmq-recv.
Exit codes: 0 ok, 1 error, 2 usage, 4 broker unreachable, 5 denied, 6 no such queue.)";

struct Flags {
  BrokerFlags broker;
  std::string admin;
  std::string queue;
  std::string prefix;
  DurationMs lease{0};
  bool yes = false;
  bool json = false;
};

void print(const Flags& flags, const Value& value) {
  if (flags.json || !is_terminal(STDOUT_FILENO)) {
    std::cout << to_json(value) << "\n";
  } else {
    std::cout << fields_text(value);
  }
}

void create(const Flags& flags, Client& client) {
  print(flags, client.create_queue(flags.queue, std::chrono::milliseconds(flags.lease.value)));
}

void describe(const Flags& flags, Client& client) { print(flags, client.describe_queue(flags.queue)); }

void list(const Flags& flags, Client& client) {
  const std::vector<Value> queues = client.list_queues(flags.prefix);
  if (!flags.json && is_terminal(STDOUT_FILENO)) {
    std::cout << table_text(queues, is_coloured(STDOUT_FILENO));
    return;
  }
  for (const Value& queue : queues) std::cout << to_json(queue) << "\n";
}

// Does an endpoint mean the machine that it is used on, whichever that is?
bool is_local(std::string_view endpoint) {
  const std::size_t scheme = endpoint.find("://");
  if (scheme != std::string_view::npos) {
    if (endpoint.substr(0, scheme) != "tcp") return true;
    endpoint.remove_prefix(scheme + 3);
  }
  for (const std::string_view host : {"127.", "localhost:", "[::1]:", "0.0.0.0:", "[::]:"}) {
    if (endpoint.substr(0, host.size()) == host) return true;
  }
  return false;
}

// What a broker elsewhere calls 127.0.0.1 is another broker's here, which would lose its queue.
void check_admin_is_of(const std::string& admin, const std::string& broker) {
  if (!is_local(admin)) return;
  for (const std::string& endpoint : split_endpoints(broker)) {
    if (is_local(endpoint)) continue;
    throw ClientError({"denied",
                       "the admin endpoint of " + endpoint + " is " + admin +
                           " on its own machine; run this there, or give an endpoint that reaches it with --admin",
                       false});
  }
}

// Deleting is for administrators, who have an endpoint of their own; the broker tells where.
void remove(const Flags& flags, Client& client, const Interrupt& interrupt) {
  if (!flags.yes && is_terminal(STDIN_FILENO)) {
    throw ClientError({"invalid_argument",
                       "this removes the queue '" + flags.queue + "' and all its messages for good; add --yes to do it",
                       false});
  }
  const std::string admin = flags.admin.empty() ? client.hello().text("admin") : flags.admin;
  if (admin.empty()) {
    throw ClientError({"denied", "this broker names no admin endpoint; give the one that it has with --admin", false});
  }
  if (flags.admin.empty()) check_admin_is_of(admin, flags.broker.broker);
  BrokerFlags there = flags.broker;
  there.broker = admin;
  Client(client_options(there, interrupt.fd())).delete_queue(flags.queue);
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

int run(int argc, char** argv) {
  const Interrupt interrupt;
  Flags flags;
  std::function<void(Client&)> action;
  CLI::App app{"Looks after a dmq broker and its queues.", kProgram};
  app.footer(kExamples);
  app.require_subcommand(1);
  app.fallthrough();
  add_broker_flags(app, flags.broker);
  app.add_flag("--json", flags.json, "Print JSON lines on a terminal too");

  CLI::App* queue = app.add_subcommand("queue", "Create, describe, list and delete queues");
  queue->require_subcommand(1);
  queue->fallthrough();
  const auto command = [&](CLI::App* parent, const std::string& name, const std::string& text, auto what) {
    CLI::App* sub = parent->add_subcommand(name, text);
    sub->fallthrough();
    sub->callback([&action, what] { action = what; });
    return sub;
  };
  CLI::App* creating = command(queue, "create", "Create a queue", [&](Client& client) { create(flags, client); });
  add_queue_argument(*creating, flags.queue, "Its name");
  add_duration(*creating, "--lease", flags.lease,
               "How long a receiver has before a message comes back; 0s: as the broker says");
  CLI::App* describing = command(queue, "describe", "Settings of a queue and what is in it",
                                 [&](Client& client) { describe(flags, client); });
  add_queue_argument(*describing, flags.queue, "Its name");
  command(queue, "list", "All queues", [&](Client& client) {
    list(flags, client);
  })->add_option("PREFIX", flags.prefix, "Only names that begin so");
  CLI::App* deleting = command(queue, "delete", "Delete a queue and its messages",
                               [&](Client& client) { remove(flags, client, interrupt); });
  add_queue_argument(*deleting, flags.queue, "Its name");
  deleting->add_flag("--yes", flags.yes, "Do it; needed on a terminal");
  deleting->add_option("--admin", flags.admin, "The admin endpoint; by default the one that the broker names")
      ->envname("DMQ_ADMIN_ENDPOINT")
      ->type_name("ENDPOINT");
  command(&app, "ping", "Ask a broker whether it is there", [&](Client& client) { ping(flags, client); });

  if (const auto code = parse_flags(app, argc, argv)) return *code;
  Client client(client_options(flags.broker, interrupt.fd()));
  action(client);
  return std::cout.flush() ? kExitOk : report_output_gone(kProgram);
}

}  // namespace
}  // namespace dmq::cli

int main(int argc, char** argv) { return dmq::cli::run_command(dmq::cli::kProgram, dmq::cli::run, argc, argv); }
