// Leases: views into a reply that know how to settle themselves.
#include "clients/cpp/lease.hpp"

#include "clients/cpp/client_loop.hpp"

namespace dmq {

namespace {

std::chrono::system_clock::time_point time_point_of(TimeMs time) {
  return std::chrono::system_clock::time_point(std::chrono::milliseconds(time.value));
}

}  // namespace

std::vector<Lease> LeaseHolder::make_leases(std::vector<Delivery>& deliveries, bool held) {
  std::vector<Lease> leases;
  leases.reserve(deliveries.size());
  const std::shared_ptr<LeaseHolder> self = shared_from_this();
  for (Delivery& delivery : deliveries) {
    Lease lease;
    lease.holder_ = self;
    lease.body_ = delivery.body;
    lease.id_ = delivery.id;
    lease.receipt_ = delivery.receipt;
    lease.headers_ = std::move(delivery.attributes.headers);
    lease.content_type_ = delivery.attributes.content_type;
    lease.reply_to_ = delivery.attributes.reply_to;
    lease.correlation_id_ = delivery.attributes.correlation_id;
    lease.traceparent_ = delivery.attributes.traceparent;
    lease.key_ = delivery.attributes.key;
    lease.deliveries_ = delivery.deliveries;
    lease.priority_ = delivery.priority;
    lease.sent_at_ = time_point_of(delivery.sent_ms);
    if (delivery.first_ms.value != 0) {
      lease.first_delivered_at_ = time_point_of(delivery.first_ms);
      lease.last_delivered_at_ = time_point_of(delivery.last_ms);
    }
    lease.reason_ = delivery.reason;
    if (const auto& origin = delivery.attributes.origin)
      lease.dead_letter_ = DeadLetter{origin->queue, origin->cause, origin->reason, origin->deliveries};
    if (delivery.expires_ms.value != 0) lease.expires_at_ = time_point_of(delivery.expires_ms);
    lease.held_ = held;
    held_ += held ? 1 : 0;
    leases.push_back(std::move(lease));
  }
  return leases;
}

std::shared_ptr<ClientLoop> LeaseHolder::loop() const {
  auto loop = loop_.lock();
  if (loop == nullptr) throw ClientError({"closed", "the client of this lease is gone", false});
  return loop;
}

void LeaseHolder::on_settled(std::string_view receipt) {
  --held_;
  const auto loop = loop_.lock();
  if (loop != nullptr && renewal_ != 0) loop->drop_renewal(renewal_, receipt);
}

void LeaseHolder::on_released(std::string_view receipt) {
  on_settled(receipt);
  const auto loop = loop_.lock();
  if (loop == nullptr) return;
  released_.push_back(receipt);
  if (released_.size() == 1 || held_ == 0) loop->note_released(shared_from_this(), held_ == 0);
}

Lease::Lease(Lease&& other) noexcept = default;

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  holder_ = std::move(other.holder_);
  body_ = other.body_;
  id_ = other.id_;
  receipt_ = other.receipt_;
  headers_ = std::move(other.headers_);
  sent_at_ = other.sent_at_;
  expires_at_ = other.expires_at_;
  first_delivered_at_ = other.first_delivered_at_;
  last_delivered_at_ = other.last_delivered_at_;
  dead_letter_ = other.dead_letter_;
  reason_ = other.reason_;
  content_type_ = other.content_type_;
  reply_to_ = other.reply_to_;
  correlation_id_ = other.correlation_id_;
  traceparent_ = other.traceparent_;
  key_ = other.key_;
  priority_ = other.priority_;
  deliveries_ = other.deliveries_;
  held_ = other.held_;
  return *this;
}

Lease::~Lease() { release(); }

void Lease::release() noexcept {
  if (holder_ == nullptr || !held_) return;
  held_ = false;
  try {
    holder_->on_released(receipt_);
  } catch (const std::exception&) {
    // Out of memory or the link: the lease then ends by its own time.
  }
}

std::string_view Lease::queue() const { return holder_->queue(); }

bool Lease::lost() const { return holder_->is_lost(receipt_); }

std::optional<std::string_view> Lease::header(std::string_view name) const {
  for (const auto& [key, value] : headers_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

static_assert(static_cast<int>(Nack::kGiveBack) == static_cast<int>(NackKind::kGiveBack) &&
              static_cast<int>(Nack::kFatal) == static_cast<int>(NackKind::kFatal));

RequestHeader nack_header(const NackOptions& options) {
  RequestHeader header;
  header.op = Op::kNack;
  header.kind = static_cast<NackKind>(options.kind);
  if (options.delay) header.delay_ms = DurationMs{options.delay->count()};
  header.reason = options.reason;
  return header;
}

namespace {

RequestHeader header_for(Op op) {
  RequestHeader header;
  header.op = op;
  return header;
}

// Settles one lease and waits for the answer.
void settle_one(ClientLoop& loop, RequestHeader header, Lease& lease) {
  auto result = std::make_shared<std::optional<SettleResult>>();
  header.queue = lease.queue();
  loop.settle(header, &lease, 1, [result](const SettleResult& settled) { *result = settled; });
  loop.run_until([&result] { return result->has_value(); }, kNever);
  if ((*result)->failure) throw ClientError(*(*result)->failure);
  if ((*result)->stale != 0) {
    throw ClientError({"stale_receipt", "the lease was over: the message was handed out again or removed", false});
  }
}

}  // namespace

void Lease::ack() { settle_one(*holder_->loop(), header_for(Op::kAck), *this); }

void Lease::nack(std::chrono::milliseconds delay) {
  nack(NackOptions{Nack::kFailed, delay.count() == 0 ? std::nullopt : std::optional(delay), {}});
}

void Lease::nack(const NackOptions& options) { settle_one(*holder_->loop(), nack_header(options), *this); }

void Lease::extend(std::chrono::milliseconds lease) {
  RequestHeader header = header_for(Op::kExtend);
  header.lease_ms = DurationMs{lease.count()};
  settle_one(*holder_->loop(), header, *this);
}

}  // namespace dmq
