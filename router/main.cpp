// dmq-router: the front door for clients as a process of its own.
#include <iostream>
#include <thread>

#include "router/router.hpp"
#include "runtime/flags.hpp"
#include "runtime/logging.hpp"
#include "runtime/open_files.hpp"
#include "runtime/signals.hpp"
#include "runtime/standard_streams.hpp"

namespace {

struct Flags {
  dmq::DaemonFlags daemon;
  dmq::RouterOptions router;
};

void add_flags(CLI::App& app, Flags& flags) {
  app.add_option("--listen", flags.router.listen, "Endpoint for clients; a port * is chosen by the system")
      ->capture_default_str();
  app.add_option("--admin", flags.router.admin,
                 "Endpoint for administrators, who may delete queues: loopback or ipc (default: none)");
  app.add_option("--metad", flags.router.metad, "Endpoint of dmq-metad")->capture_default_str();
  app.add_option("--name", flags.router.name, "Name of this router (default: a random one)");
  app.add_flag("--auto-create,!--no-auto-create", flags.router.auto_create,
               "Create a queue on its first use (default: yes)");
  app.add_flag("--allow-delete", flags.router.allow_delete, "Let every client delete queues");
  dmq::add_daemon_flags(app, flags.daemon);
  dmq::add_environment(app);
  app.footer(
      "Examples:\n  dmq-router --listen tcp://0.0.0.0:7310 --metad tcp://10.0.0.1:7312\n"
      "Each flag is also a variable (DMQ_LISTEN) and a key of the TOML file (listen = \"...\").");
}

}  // namespace

int main(int argc, char** argv) {
  dmq::hold_standard_streams();
  dmq::raise_open_files_limit();
  CLI::App app("dmq-router: takes clients' requests and passes each to the worker that has its queue.");
  Flags flags;
  add_flags(app, flags);
  if (const auto code = dmq::parse_flags(app, argc, argv)) return *code;
  if (auto logging = dmq::set_up_logging("dmq-router", flags.daemon.log_level, flags.daemon.log_format); !logging) {
    std::cerr << "dmq-router: " << logging.error().context << "\n";
    return dmq::kExitUsage;
  }
  if (flags.daemon.check_config) {
    std::cout << "ok\n";
    return dmq::kExitOk;
  }
  dmq::DaemonSignals signals;
  zmq::context_t context;
  auto router = dmq::Router::open(context, flags.router);
  if (!router) {
    std::cerr << "dmq-router: " << router.error().context << "\n";
    return dmq::kExitError;
  }
  dmq::Reactor reactor;
  reactor.add(**router);
  std::thread loop([&] { reactor.run(); });
  std::cout << "listening " << (*router)->endpoint() << std::endl;
  dmq::notify_service_manager("READY=1");
  signals.wait_for_end();
  dmq::notify_service_manager("STOPPING=1");
  reactor.stop();
  loop.join();
  return dmq::kExitOk;
}
