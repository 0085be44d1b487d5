// See recv_flags.hpp.
#include "clients/cli/recv_flags.hpp"

namespace dmq::cli {
namespace {

constexpr const char* kExamples = R"(
Examples:
  dmq-recv jobs                             one message, if there is one now
  dmq-recv --wait 10s jobs                  one message, waiting for it
  dmq-recv --count 100 --lines jobs         up to 100 bodies, one a line
  dmq-recv --follow jobs | jq .body         all messages as they come, as JSON lines
  dmq-recv --follow --credit 500 jobs       the same without asking for each batch, up to 500 not acked yet
  dmq-recv --ack none --count 5 jobs        look at five messages and give them back
  dmq-recv --raw jobs > cat.png             the bare bytes of one message
  dmq-recv --follow --exec ./resize jobs    run a command for each message, as they come
  dmq-recv --follow --exec 'curl -sf -d @- "$DMQ_REPLY_TO"' --concurrency 8 --nack-delay 1m jobs
  dmq-recv --follow --exec ./resize --consumer "$HOSTNAME" --heartbeat 5s jobs    others take over 5 s after it died

On a terminal messages are shown for people; in a pipe they are JSON lines unless --lines or --raw is given.
Ctrl-C gives back at once what is not acked. With --ack auto a message is removed once it is written and flushed: what
then happens in a pipe is up to the reader.

With --exec, /bin/sh runs the command for each message, the body on its standard input. It ends with exit code 0: the
message is acked. Anything else: it is given back and comes again after --nack-delay. As long as the command runs the
message is leased, whatever --lease says. These variables tell it more; those that the message lacks are unset:
  DMQ_MESSAGE_ID DMQ_QUEUE DMQ_DELIVERIES DMQ_SENT_MS DMQ_PRIORITY DMQ_EXPIRES_MS    times in ms since 1970
  DMQ_CONTENT_TYPE DMQ_REPLY_TO DMQ_CORRELATION_ID DMQ_TRACEPARENT DMQ_KEY
  DMQ_HEADER_NAME    a header 'name'; what is no letter or digit becomes _
  DMQ_HEADERS        all headers as JSON: {"name":"value"}, or "name_base64" for a value that is no text
  DMQ_ENDPOINT       the broker, for a dmq-send in the command
Ctrl-C takes no more messages and waits for the commands that run; a second Ctrl-C ends them and gives their messages
back. A command that is not found, or that the shell cannot run (its exit codes 126 and 127), ends dmq-recv.

Exit codes: 0 received, 1 error, 2 usage, 3 nothing there, 4 broker unreachable, 5 denied, 6 no such queue; with --exec
0 all were acked, 1 none was, 7 only a part was, 2 the command is not found.)";

void add_exec_flags(CLI::App& app, RecvFlags& flags) {
  auto* exec = app.add_option("--exec", flags.exec, "Run this for each message: ack on exit code 0, else give it back")
                   ->type_name("COMMAND")
                   ->check([](const std::string& command) { return command.empty() ? "the command is empty" : ""; });
  for (const char* other : {"--lines", "--json", "--raw", "--ack"}) exec->excludes(other);
  app.add_option("--concurrency", flags.concurrency, "Commands that run at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000))
      ->needs(exec);
  add_duration(app, "--nack-delay", flags.nack_delay, "A message whose command failed comes again after so long")
      ->needs(exec);
}

}  // namespace

ReceiveOptions receive_options(const RecvFlags& flags) {
  ReceiveOptions options;
  options.lease = std::chrono::milliseconds(flags.lease.value);
  options.consumer = flags.consumer;
  options.heartbeat = std::chrono::milliseconds(flags.heartbeat.value);
  return options;
}

void add_recv_flags(CLI::App& app, RecvFlags& flags) {
  app.description("Receives messages from a dmq queue, one unless --count or --follow says otherwise.");
  app.footer(kExamples);
  add_queue_argument(app, flags.queue, "The queue");
  auto* count = app.add_option("--count", flags.count, "At most so many messages")->check(CLI::Range(1, 1'000'000'000));
  add_duration(app, "--wait", flags.wait, "How long to wait for each next message");
  app.add_flag("--follow", flags.follow, "Go on until Ctrl-C")->excludes(count);
  auto* lines = app.add_flag("--lines", flags.lines, "Write each body and a newline");
  auto* json = app.add_flag("--json", flags.json, "Write each message as one line of JSON")->excludes(lines);
  app.add_flag("--raw", flags.raw, "Write the bare bodies, nothing between them")->excludes(lines)->excludes(json);
  app.add_option("--ack", flags.ack, "auto: remove what was written; after: all at the end; none: give all back")
      ->check(CLI::IsMember({"auto", "after", "none"}))
      ->capture_default_str();
  add_duration(app, "--lease", flags.lease,
               "How long others do not get the messages; 0s: as the queue says, with --exec 30s");
  app.add_option("--credit", flags.credit,
                 "Subscribe: messages come without being asked for, at most so many that are not "
                 "acked yet; --wait is at least 500ms")
      ->check(CLI::Range(1, 10'000));
  auto* consumer = app.add_option("--consumer", flags.consumer,
                                  "Its name among the consumers of the queue, for limits of each and heartbeats")
                       ->check([](const std::string& name) { return name.empty() ? "the name is empty" : ""; });
  add_duration(app, "--heartbeat", flags.heartbeat,
               "When it is silent for so long, as it was killed or stopped, others get its messages at once, before "
               "the lease ends; it tells by itself that it is there")
      ->needs(consumer);
  add_exec_flags(app, flags);
  app.get_option("--exec")->excludes("--credit");
  add_broker_flags(app, flags.broker);
}

}  // namespace dmq::cli
