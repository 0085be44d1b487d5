// See send_flags.hpp.
#include "clients/cli/send_flags.hpp"

namespace dmq::cli {
namespace {

constexpr const char* kExamples = R"(
Examples:
  dmq-send jobs 'resize cat.png'            one message
  dmq-send jobs < report.pdf                the whole input as one message, up to 16 MiB
  tail -f app.log | dmq-send --lines log    each line is a message, sent as it comes
  dmq-send -H type:image/png -H size:large jobs < cat.png     with headers
  dmq-send --count 1000 jobs ping           the same message 1,000 times
  dmq-send --count 600 --rate 10 jobs ping  ten a second for a minute
  dmq-send --priority 9 jobs 'now, please'  received before all others
  dmq-send --delay 30m jobs 'remind me'     not received before half an hour has passed
  dmq-send --at '2026-12-24 18:00' --ttl 6h jobs 'light the candles'
  DMQ_ENDPOINT=queue1:7310,queue2:7310 dmq-send jobs hello

A message counts as sent once the broker confirmed that it is stored. Repeats after a lost connection are stored once.
Exit codes: 0 all sent, 1 error, 2 usage, 4 broker unreachable, 5 denied, 6 no such queue, 7 only a part was sent.)";

}  // namespace

void add_send_flags(CLI::App& app, SendFlags& flags) {
  app.description("Sends messages to a dmq queue: BODY, or standard input as one message.");
  app.footer(kExamples);
  add_queue_argument(app, flags.queue, "The queue; it is created by its first message");
  app.add_option("BODY", flags.body, "The message; without it, standard input");
  app.add_flag("--lines", flags.lines, "Each line of the input is a message; empty lines too");
  app.add_option("--delimiter", flags.delimiter, "Like --lines, cut at this character instead (\\0, \\t)");
  app.add_option("--count", flags.count, "Send the message so many times; with --lines: stop after so many lines")
      ->check(CLI::Range(1, 1'000'000'000));
  app.add_option("-H,--header", flags.headers, "A header, name:value; repeatable; up to 64 of a message, 16 KiB in all")
      ->allow_extra_args(false);
  app.add_option("--priority", flags.message.priority, "0 to 9: messages with higher ones are received first")
      ->check(CLI::Range(0, 9));
  app.add_option("--key", flags.message.key, "Messages with the same key are received one after the other, in order");
  app.add_option("--dedup-id", flags.message.dedup_id,
                 "Of messages with the same one the queue takes one, for 5 minutes or as it is set");
  add_duration(app, "--delay", flags.delay, "Receivers get it after so long");
  app.add_option("--at", flags.at, "Receivers get it at this time: '2026-12-24 18:00', 2026-12-24T17:00:00Z")
      ->excludes("--delay");
  add_duration(app, "--ttl", flags.ttl,
               "Receivers do not get it after so long, 0s: it never expires; by default as the queue says");
  app.add_option("--content-type", flags.message.content_type, "What the body is, for the receiver");
  app.add_option("--reply-to", flags.message.reply_to, "Where an answer is awaited, for the receiver");
  app.add_option("--correlation-id", flags.message.correlation_id, "What it belongs to, for the receiver");
  app.add_option("--traceparent", flags.message.traceparent, "W3C Trace Context, for the receiver");
  app.add_option("--rate", flags.rate, "At most so many messages a second, evenly: 100, or 0.2 for one in 5 s")
      ->type_name("NUMBER")
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--window", flags.window, "Messages that may be unconfirmed at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app.add_flag("--json", flags.json, "Print a summary as one line of JSON");
  app.add_flag("-q,--quiet", flags.quiet, "No progress and no summary");
  add_broker_flags(app, flags.broker);
}

}  // namespace dmq::cli
