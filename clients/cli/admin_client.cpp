// See admin_client.hpp.
#include "clients/cli/admin_client.hpp"

#include <string_view>

namespace dmq::cli {
namespace {

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

}  // namespace

Client admin_client(Client& client, const BrokerFlags& broker, const std::string& admin, int interrupt_fd) {
  BrokerFlags there = broker;
  there.broker = admin.empty() ? client.hello().text("admin") : admin;
  if (there.broker.empty()) {
    throw ClientError({"denied", "this broker names no admin endpoint; give the one that it has with --admin", false});
  }
  if (admin.empty()) check_admin_is_of(there.broker, broker.broker);
  return Client(client_options(there, interrupt_fd));
}

void add_admin_option(CLI::App& command, std::string& admin) {
  command.add_option("--admin", admin, "The admin endpoint; by default the one that the broker names")
      ->envname("DMQ_ADMIN_ENDPOINT")
      ->type_name("ENDPOINT");
}

}  // namespace dmq::cli
