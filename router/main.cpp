// dmq-router: the front door for clients as a process of its own.
#include <memory>

#include "router/router.hpp"
#include "runtime/daemon.hpp"
#include "runtime/endpoint.hpp"

namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  dmq-router --listen tcp://0.0.0.0:7310 --metad tcp://10.0.0.1:7312\n";

void add_flags(CLI::App& app, dmq::RouterOptions& options) {
  app.add_option("--listen", options.listen, "Endpoint for clients; a port * is chosen by the system")
      ->capture_default_str();
  app.add_option("--admin", options.admin,
                 "Endpoint for administrators, who may delete queues: loopback or ipc (default: none)");
  app.add_option("--metad", options.metad, "Endpoint of dmq-metad")->capture_default_str();
  app.add_option("--name", options.name, "Name of this router (default: a random one)");
  app.add_flag("--auto-create,!--no-auto-create", options.auto_create,
               "Create a queue on its first use (default: yes)");
  app.add_flag("--allow-delete", options.allow_delete, "Let every client delete queues");
}

dmq::Result<void> check(const dmq::RouterOptions& options) {
  auto good = dmq::check_endpoint("--listen", options.listen, dmq::EndpointUse::kListen);
  if (good) good = dmq::check_endpoint("--metad", options.metad, dmq::EndpointUse::kConnect);
  if (!good || options.admin.empty()) return good;
  return dmq::check_endpoint("--admin", options.admin, dmq::EndpointUse::kAdmin);
}

dmq::Result<dmq::RunningService> open(zmq::context_t& context, dmq::RouterOptions options) {
  auto opened = dmq::Router::open(context, std::move(options));
  if (!opened) return tl::unexpected<dmq::Error>(opened.error());
  const std::shared_ptr<dmq::Router> router = std::move(*opened);
  const auto reactor = std::make_shared<dmq::Reactor>();
  reactor->add(*router);
  return dmq::run_in_thread({.endpoint = router->endpoint(),
                             .run = [reactor, router] { reactor->run(); },
                             .stop = [reactor] { reactor->stop(); }});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("dmq-router takes clients' requests and passes each to the worker that has its queue.", "dmq-router");
  dmq::RouterOptions options;
  add_flags(app, options);
  const auto check_options = [&options] { return check(options); };
  const auto serve = [&options](zmq::context_t& context) { return open(context, options); };
  return dmq::run_daemon(app, argc, argv, {kExamples, check_options, serve});
}
