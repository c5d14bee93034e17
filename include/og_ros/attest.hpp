// Attests what a stage does, without ROS: a session that signs in order, and a queue that signs beside the stage.
#ifndef OG_ROS__ATTEST_HPP_
#define OG_ROS__ATTEST_HPP_

#include <openssl/rand.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "og_ros/digest.hpp"
#include "og_ros/keys.hpp"
#include "og_ros/wire.hpp"

namespace og_ros
{

/// What a session says of itself in every record.
struct Producer
{
  std::string robot;
  std::string stage;
  std::string node;
  ModelReference model;
  Runtime runtime;
};

/// One inference, as it is to be attested.
struct Inference
{
  std::vector<DataReference> inputs;
  std::vector<DataReference> outputs;
  std::uint64_t start = 0;                        ///< node clock when it began, ns
  Clock clock = Clock::system;                    ///< which clock that was
  std::chrono::steady_clock::time_point began{};  ///< monotonic clock when it began
  std::chrono::nanoseconds duration{0};           ///< monotonic, from the last input at hand to the output published
  Mode mode_requested = Mode::signed_only;
  Mode mode_used = Mode::signed_only;
};

/// A session: signs inferences in order; each record has the next sequence and names the one before by its digest.
/// Not thread-safe: one thread signs. A number is used up only once its record is signed.
class Attestor
{
public:
  Attestor(Producer producer, PrivateKey key)
  : producer_(std::move(producer)), key_(std::move(key)), began_(std::chrono::steady_clock::now())
  {
    if (RAND_bytes(session_.data(), static_cast<int>(session_.size())) != 1) {
      throw Error(Reason::library, "OpenSSL has no randomness for a session's id");
    }
  }

  const SessionId & session() const {return session_;}
  const PrivateKey & key() const {return key_;}
  std::uint64_t sequence() const {return sequence_;}

  /// Sign one inference; throws Error when a field is out of bounds.
  Attestation attest(const Inference & inference)
  {
    Statement s;
    s.robot = producer_.robot;
    s.stage = producer_.stage;
    s.node = producer_.node;
    s.session = session_;
    s.sequence = sequence_;
    s.previous = previous_;
    s.model = producer_.model;
    s.runtime = producer_.runtime;
    s.inputs = inference.inputs;
    s.outputs = inference.outputs;
    s.start = inference.start;
    s.clock = inference.clock;
    s.start_monotonic_ns = inference.began > began_ ? nanoseconds(inference.began - began_) : 0;
    s.duration_ns = nanoseconds(inference.duration);
    s.signed_at = nanoseconds(std::chrono::system_clock::now().time_since_epoch());
    s.mode_requested = inference.mode_requested;
    s.mode_used = inference.mode_used;
    s.key_id = key_.id();
    s.algorithm = key_.algorithm();
    Attestation made = sign(std::move(s), key_);
    previous_ = made.digest;
    ++sequence_;
    return made;
  }

private:
  template<typename Duration>
  static std::uint64_t nanoseconds(Duration duration)
  {
    const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
    return count > 0 ? static_cast<std::uint64_t>(count) : 0;
  }

  Producer producer_;
  PrivateKey key_;
  SessionId session_{};
  std::chrono::steady_clock::time_point began_;
  std::uint64_t sequence_ = 0;
  Digest previous_{};
};

/// Signs on a thread of its own, in order, losing none. `sink` gets each record on that thread, serialised too;
/// `failed` what could not be signed or sent, and why. As in Python (og_ros/nodes/signing_queue.py), `push` returns
/// once at most `depth` wait beside the one that is being signed, the oldest of all has waited for less than `lag`,
/// and the newest is not to wait for longer, by what signatures took lately: a sink that is held up slows the node
/// down instead of leaving outputs without attestations behind it.
class SigningQueue
{
public:
  using Sink = std::function<void (const Attestation &, const Bytes & serialised)>;
  using Failed = std::function<void (const std::string & why)>;

  SigningQueue(
    Attestor attestor, Sink sink, Failed failed, std::size_t depth = 256,
    std::chrono::milliseconds lag = std::chrono::milliseconds(500))
  : attestor_(std::move(attestor)), sink_(std::move(sink)), failed_(std::move(failed)), depth_(depth), lag_(lag),
    worker_([this] {work();}) {}

  SigningQueue(const SigningQueue &) = delete;
  SigningQueue & operator=(const SigningQueue &) = delete;
  ~SigningQueue() {close();}

  void push(Inference inference)
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (closed_) {throw Error(Reason::library, "the signing queue is closed");}
    waiting_.push_back({Steady::now(), std::move(inference)});
    added_.notify_one();
    done_.wait(
      lock, [this] {return waiting_.empty() || (waiting_.size() <= depth_ + 1 && !late());});
  }

  /// Sign and send what is due, then end the thread. To be called from another thread than the sink's.
  void close()
  {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
      added_.notify_one();
    }
    if (worker_.joinable()) {worker_.join();}
  }

private:
  using Steady = std::chrono::steady_clock;
  using Cost = std::chrono::duration<double>;

  struct Waiting
  {
    Steady::time_point since;
    Inference inference;
  };

  // The age alone would let any number in at once, as inputs that waited while the node did.
  bool late() const
  {
    const auto awaited = cost_ * static_cast<double>(waiting_.size() - 1);
    return Steady::now() - waiting_.front().since >= lag_ || awaited >= lag_;
  }

  void work()
  {
    for (;; ) {
      const Inference * next;
      Steady::time_point began;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        added_.wait(lock, [this] {return !waiting_.empty() || closed_;});
        if (waiting_.empty()) {return;}
        next = &waiting_.front().inference;  // a deque leaves it where it is while others are added
        began = Steady::now();
      }
      try {
        const Attestation made = attestor_.attest(*next);
        sink_(made, encode_attestation(made));
      } catch (const std::exception & error) {
        failed_(error.what());
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      waiting_.pop_front();
      const Cost took = Steady::now() - began;
      cost_ = cost_.count() > 0 ? (cost_ + took) / 2 : took;  // half of it the last one's, and so on
      done_.notify_all();
    }
  }

  Attestor attestor_;
  Sink sink_;
  Failed failed_;
  std::size_t depth_;
  std::chrono::milliseconds lag_;
  std::mutex mutex_;
  std::condition_variable added_, done_;
  std::deque<Waiting> waiting_;
  Cost cost_{0};
  bool closed_ = false;
  std::thread worker_;  // last: it uses all of the above
};

}  // namespace og_ros

#endif  // OG_ROS__ATTEST_HPP_
