#include "ttrpc/connection.h"

#include <algorithm>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "sys/socket.h"

namespace skiff::ttrpc {
namespace {

constexpr size_t kHighWater = 1 << 20;   // queued bytes above which senders of streams wait
constexpr size_t kReadChunk = 64 << 10;  // memory is taken as data comes, not as it is announced
constexpr int kFramesATurn = 32;         // then other connections have theirs

}  // namespace

Result<std::shared_ptr<Connection>> Connection::start(std::shared_ptr<sys::EventLoop> loop,
                                                      sys::UniqueFd socket, Events events) {
  std::shared_ptr<Connection> connection(
      new Connection(std::move(loop), std::move(socket), std::move(events)));
  auto out = connection->out_.lock();  // frames may come before add returns
  out->token = SKIFF_TRY(
      connection->loop_->add(connection->socket_.get(), EPOLLIN,
                             [connection](uint32_t ready) { connection->on_ready(ready); }));
  out.unlock();
  return connection;
}

Status Connection::send(const FrameHeader& header, std::string_view data,
                        std::vector<sys::UniqueFd> fds) {
  if (data.size() > kMaxData)
    return fail(Code::kResourceExhausted, "a message of {} bytes exceeds ttrpc's limit of {}",
                data.size(), kMaxData);
  Pending pending;
  pending.bytes.reserve(kHeaderSize + data.size());
  FrameHeader full = header;
  full.length = static_cast<uint32_t>(data.size());
  put_header(pending.bytes, full);
  pending.bytes += data;
  pending.fds = std::move(fds);
  auto out = out_.lock();
  if (out->closed || out->finishing) return fail(Code::kUnavailable, "the connection is closed");
  out->bytes += pending.bytes.size();
  out->queue.push_back(std::move(pending));
  if (out->watching) return ok();
  if (Status sent = flush(*out); !sent) {
    // The loop finds the same error when it reads, and ends the connection there.
    ::shutdown(socket_.get(), SHUT_RDWR);
    return sent;
  }
  return ok();
}

Status Connection::flush(Outgoing& out) {
  while (!out.queue.empty()) {
    Pending& front = out.queue.front();
    auto rest = as_bytes(std::string_view(front.bytes).substr(front.sent));
    auto sent = SKIFF_TRY(sys::send_some(socket_.get(), rest, front.fds));
    if (!sent) break;
    front.fds.clear();
    front.sent += *sent;
    out.bytes -= *sent;
    if (front.sent == front.bytes.size()) out.queue.pop_front();
  }
  if (out.bytes < kHighWater) room_.notify_all();
  if (out.queue.empty() && out.finishing) ::shutdown(socket_.get(), SHUT_RDWR);
  bool watch = !out.queue.empty();
  if (watch == out.watching) return ok();
  out.watching = watch;
  return loop_->modify(out.token, watch ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

Status Connection::wait_for_room(const Context& context) {
  auto out = out_.lock();
  auto ready = [&] { return out->closed || out->bytes < kHighWater; };
  if (auto deadline = context.deadline()) {
    out.wait_until(room_, context.stop_token(), *deadline, ready);
  } else {
    out.wait(room_, context.stop_token(), ready);
  }
  if (out->closed) return fail(Code::kUnavailable, "the connection is closed");
  return context.check();
}

void Connection::close() { ::shutdown(socket_.get(), SHUT_RDWR); }

void Connection::close_when_sent() {
  auto out = out_.lock();
  out->finishing = true;
  if (out->queue.empty()) ::shutdown(socket_.get(), SHUT_RDWR);
}

void Connection::on_ready(uint32_t ready) {
  Status status;
  if (ready & EPOLLOUT) status = flush(*out_.lock());
  if (status && (ready & ~EPOLLOUT)) status = read_frames();
  if (!status) finish(status.error());
}

Status Connection::read_frames() {
  for (int frames = 0; frames < kFramesATurn;) {
    if (!SKIFF_TRY(read_some())) return ok();
    if (header_got_ == kHeaderSize && data_got_ == length_) {
      finish_frame();
      ++frames;
    }
  }
  return ok();
}

// Reads exactly up to the end of the header or of the data: never into the next frame, whose first
// byte may carry descriptors.
Result<bool> Connection::read_some() {
  if (header_got_ < kHeaderSize) {
    MutableBytes rest(reinterpret_cast<std::byte*>(header_) + header_got_,
                      kHeaderSize - header_got_);
    auto got = SKIFF_TRY(sys::receive_some(socket_.get(), rest, frame_.fds));
    if (!got) return false;
    if (*got == 0) return fail(Code::kUnavailable, "the peer closed the connection");
    header_got_ += *got;
    if (header_got_ < kHeaderSize) return true;
    FrameHeader header = parse_header(header_);
    length_ = header.length;
    frame_.stream = header.stream;
    frame_.type = header.type;
    frame_.flags = header.flags;
    frame_.oversize = length_ > kMaxData;
    return true;
  }
  size_t want = std::min<size_t>(length_ - data_got_, kReadChunk);
  size_t at = frame_.oversize ? 0 : data_got_;
  frame_.data.resize(at + want);
  MutableBytes rest(reinterpret_cast<std::byte*>(frame_.data.data()) + at, want);
  auto got = SKIFF_TRY(sys::receive_some(socket_.get(), rest, frame_.fds));
  frame_.data.resize(at + (got && !frame_.oversize ? *got : 0));
  if (!got) return false;
  if (*got == 0) return fail(Code::kUnavailable, "the peer closed the connection in a message");
  data_got_ += *got;
  return true;
}

void Connection::finish_frame() {
  Frame frame = std::move(frame_);
  frame_ = {};
  header_got_ = data_got_ = length_ = 0;
  events_.on_frame(std::move(frame));
}

void Connection::finish(const Error& reason) {
  auto self = shared_from_this();  // the loop's reference goes with remove
  {
    auto out = out_.lock();
    if (out->closed) return;
    out->closed = true;
    out->queue.clear();
    loop_->remove(out->token);
  }
  room_.notify_all();
  ::shutdown(socket_.get(), SHUT_RDWR);
  Events events = std::move(events_);
  events_ = {};
  events.on_closed(reason);
}

}  // namespace skiff::ttrpc
