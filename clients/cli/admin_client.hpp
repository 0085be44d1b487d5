// The way to the administrators' endpoint of a broker, which takes what destroys messages.
#pragma once

#include <string>

#include "clients/cli/session.hpp"

namespace dmq::cli {

// A client of `admin`, or, when that is empty, of the endpoint that the broker names. Throws ClientError (denied) when
// it names none, or one that would be another broker's here.
Client admin_client(Client& client, const BrokerFlags& broker, const std::string& admin, int interrupt_fd);

// The option --admin (DMQ_ADMIN_ENDPOINT).
void add_admin_option(CLI::App& command, std::string& admin);

}  // namespace dmq::cli
