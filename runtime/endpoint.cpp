// See endpoint.hpp.
#include "runtime/endpoint.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <string>

namespace dmq {
namespace {

constexpr std::size_t kIpcPathBytesMax = 107;  // of sockaddr_un

// "tcp://host:port" in its parts; without a transport it is TCP, of another one `host` is all the rest.
struct Parts {
  std::string_view transport = "tcp";
  std::string_view host;
  std::string_view port;
};

Parts split(std::string_view endpoint) {
  Parts parts;
  if (const auto scheme = endpoint.find("://"); scheme != std::string_view::npos) {
    parts.transport = endpoint.substr(0, scheme);
    endpoint.remove_prefix(scheme + 3);
  }
  const auto colon = parts.transport == "tcp" ? endpoint.rfind(':') : std::string_view::npos;
  parts.host = endpoint.substr(0, colon);
  if (colon != std::string_view::npos) parts.port = endpoint.substr(colon + 1);
  return parts;
}

bool is_everywhere_host(std::string_view host) { return host == "*" || host == "0.0.0.0" || host == "[::]"; }

bool is_loopback_host(std::string_view host) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(host).c_str(), &address) == 1) return ntohl(address.s_addr) >> 24 == 127;
  return host == "localhost" || host == "[::1]";
}

// A name, an IPv4 address or interface, or an IPv6 address in brackets.
bool is_host(std::string_view host) {
  if (host.empty()) return false;
  if (host.front() == '[') {
    in6_addr address{};
    const std::string inner(host.substr(1, host.size() - std::min<std::size_t>(host.size(), 2)));
    return host.back() == ']' && inet_pton(AF_INET6, inner.c_str(), &address) == 1;
  }
  return std::all_of(host.begin(), host.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_'; });
}

bool is_port(std::string_view port) {
  const bool digits = std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return digits && !port.empty() && port.size() <= 5 && std::stoi(std::string(port)) <= 65'535;
}

// Without the flag's name before it and what to write behind; empty: nothing is wrong.
std::string_view fault_of(const Parts& parts, EndpointUse use) {
  if (parts.transport == "ipc" || parts.transport == "inproc") {
    if (parts.host.empty()) return "names nothing behind its transport";
    return parts.transport == "ipc" && parts.host.size() > kIpcPathBytesMax ? "has a path over 107 bytes" : "";
  }
  if (parts.transport != "tcp") return "has a transport that dmq does not speak";
  const bool chosen = parts.port == "*" || parts.port == "0";
  if (use == EndpointUse::kConnect && (chosen || parts.host == "*")) return "is one to listen on, not one of a peer";
  if (!is_host(parts.host) && parts.host != "*") return "has no host that can be read";
  return parts.port == "*" || is_port(parts.port) ? "" : "has no port from 1 to 65535";
}

}  // namespace

Result<void> check_endpoint(std::string_view flag, std::string_view endpoint, EndpointUse use) {
  const std::string named = std::string(flag) + " '" + std::string(endpoint) + "' ";
  const std::string advice = "; write tcp://HOST:PORT or ipc://PATH";
  if (endpoint.empty()) return fail(Errc::kInvalidArgument, std::string(flag) + " is empty" + advice);
  const Parts parts = split(endpoint);
  if (const auto fault = fault_of(parts, use); !fault.empty()) {
    return fail(Errc::kInvalidArgument, named + std::string(fault) + advice);
  }
  if (use == EndpointUse::kAdmin && parts.transport == "tcp" && !is_loopback_host(parts.host)) {
    return fail(Errc::kInvalidArgument, named +
                                            "can be reached from other machines, and whoever reaches it may delete "
                                            "queues; write tcp://127.0.0.1:PORT or ipc://PATH");
  }
  return {};
}

bool is_everywhere(std::string_view endpoint) {
  const Parts parts = split(endpoint);
  return parts.transport == "tcp" && is_everywhere_host(parts.host);
}

}  // namespace dmq
