#!/usr/bin/perl
# Sends each line of its input to a queue, once; or receives from a queue, prints what comes, and acks it.
#
# Usage: client.pl send QUEUE < LINES      DMQ_ENDPOINT (tcp://127.0.0.1:7310)
#        client.pl receive QUEUE           until nothing came for 5 seconds
#
# Needs ZMQ::FFI and Data::MessagePack. The producer's name and sequence make a repeated request harmless.
use v5.36;
use Data::MessagePack;
use List::Util qw(min);
use Time::HiRes qw(sleep);
use ZMQ::FFI qw(ZMQ_REQ ZMQ_HEARTBEAT_IVL ZMQ_HEARTBEAT_TIMEOUT ZMQ_RCVTIMEO);

use constant { BATCH => 500, BATCH_BYTES => 8 << 20, WAIT_MS => 5000, PATIENCE_MS => 5000, TRIES => 10 };

my $endpoint = $ENV{DMQ_ENDPOINT} // 'tcp://127.0.0.1:7310';
my $context  = ZMQ::FFI->new;
my $packer   = Data::MessagePack->new->utf8;    # strings become `str`; without utf8 even keys would be `bin`
my $socket;

sub give_up ($trouble) {
    print STDERR "client.pl: $trouble\n";
    exit 1;
}

# A new socket: one that got no reply is of no more use, and what it still holds must not be sent later.
sub open_socket {
    $socket->close if $socket;
    $socket = $context->socket(ZMQ_REQ);
    $socket->set_linger(0);
    $socket->set(ZMQ_HEARTBEAT_IVL,     int => 1000);
    $socket->set(ZMQ_HEARTBEAT_TIMEOUT, int => 3000);
    $socket->connect($endpoint);
}

# One request until it is answered: its result. Every operation used here may be repeated.
sub ask ($header, $payload = undef) {
    my @frames = map { $packer->pack($_) } { v => 1, %$header }, $payload;
    my ($pause, $trouble) = (0.1);
    for (1 .. TRIES) {
        open_socket() unless $socket;
        $socket->set(ZMQ_RCVTIMEO, int => PATIENCE_MS + ($header->{wait_ms} // 0));
        $socket->send_multipart(\@frames);
        if (my @answer = eval { $socket->recv_multipart }) {
            my ($reply, $result) = map { Data::MessagePack->unpack($_) } @answer;
            return $result if $reply->{code} eq 'ok';
            $trouble = "$reply->{code}: $reply->{message}";
            last unless $reply->{retry};
        } else {
            $trouble = "no answer from $endpoint";
            open_socket();
        }
        sleep $pause * (0.5 + rand);
        $pause = min(5, 2 * $pause);
    }
    give_up($trouble);
}

# The next lines of the input, as many as fit into a request with room to spare; none at its end.
sub next_batch {
    my ($bytes, @lines) = (0);
    while (@lines < BATCH && $bytes < BATCH_BYTES && defined(my $line = <STDIN>)) {
        chomp $line;
        push @lines, $line;
        $bytes += length $line;
    }
    return @lines;
}

sub send_lines ($queue) {
    my ($producer, $sequence) = (join('-', 'perl', $$, map { sprintf '%08x', rand 2**32 } 1 .. 3), 1);
    while (my @lines = next_batch()) {
        # With a producer the batch is taken whole or not at all: no result needs a look.
        ask({ op => 'send', queue => $queue, producer => $producer, sequence => $sequence }, \@lines);
        $sequence += @lines;
    }
}

sub receive_lines ($queue) {
    STDOUT->autoflush;    # what is printed has left this process before it is acked
    while (my @messages = @{ ask({ op => 'receive', queue => $queue, max => BATCH, wait_ms => WAIT_MS }) }) {
        say $_->{body} for @messages;
        # A stale receipt is no error: the lease ended before the ack, and that message comes again.
        ask({ op => 'ack', queue => $queue }, [map { $_->{receipt} } @messages]);
    }
}

my %roles = (send => \&send_lines, receive => \&receive_lines);
my ($role, $queue) = @ARGV;
if (@ARGV != 2 || !$roles{$role}) {
    print STDERR "usage: client.pl send|receive QUEUE\n";
    exit 2;
}
$roles{$role}->($queue);
